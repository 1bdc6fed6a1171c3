//! Which actions each worker group may ask for. A guard against mistakes: who has the broker's password can call itself
//! by any group's name.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Action, DeedKind};

/// What a group may ask for that is not listed: all but raw lines. Named one by one, so that no kind that is new is allowed by
/// itself.
pub const USUAL: [DeedKind; 8] = [
    DeedKind::Join,
    DeedKind::Part,
    DeedKind::Topic,
    DeedKind::Mode,
    DeedKind::Kick,
    DeedKind::Invite,
    DeedKind::Nick,
    DeedKind::Tag,
];

/// Who may do what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    groups: BTreeMap<String, BTreeSet<DeedKind>>,
}

impl Permits {
    /// These groups may do this, and others what is [usual](USUAL).
    pub fn new(groups: BTreeMap<String, BTreeSet<DeedKind>>) -> Self {
        Permits { groups }
    }

    /// Whether whoever asks for this action may: their group is what the handler's name begins with.
    ///
    /// # Errors
    /// What to write into the configuration so that they may.
    pub(crate) fn check(&self, action: &Action) -> Result<(), String> {
        let handler = action.handler.as_deref().unwrap_or_default();
        let (group, kind) = (handler.split('/').next().unwrap_or_default(), action.deed.kind());
        let listed = self.groups.get(group);
        if listed.map_or(USUAL.contains(&kind), |kinds| kinds.contains(&kind)) {
            return Ok(());
        }
        let allowed = listed.map_or_else(|| USUAL.to_vec(), |kinds| kinds.iter().copied().collect());
        let words: Vec<String> = allowed.iter().chain([&kind]).map(|kind| format!("{:?}", kind.word())).collect();
        Err(format!(
            "the group {group:?} may not ask for the action {:?}; to allow it, write {group:?} = [{}] under [actions] in \
             the connector's configuration",
            kind.word(),
            words.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ReplyContext;

    fn asked(handler: Option<&str>, what: &str) -> Action {
        let body = serde_json::json!({"do": what, "channel": "#a", "nick": "b", "line": "WHO", "handler": handler});
        Action::read(body.to_string().as_bytes(), ReplyContext::default()).unwrap()
    }

    #[test]
    fn a_group_that_is_not_listed_may_do_all_but_raw_lines() {
        let permits = Permits::default();
        for handler in [Some("main/guard/guard"), Some("py"), None] {
            assert_eq!(permits.check(&asked(handler, "kick")), Ok(()));
            let why = permits.check(&asked(handler, "raw")).unwrap_err();
            assert!(why.contains("\"tag\", \"raw\"] under [actions]"), "{why}");
        }
    }

    #[test]
    fn a_group_that_is_listed_may_do_what_stands_there_and_is_told_what_to_write_for_more() {
        let permits = Permits::new([("main".to_owned(), [DeedKind::Kick, DeedKind::Raw].into())].into());
        assert_eq!(permits.check(&asked(Some("main/guard/guard"), "raw")), Ok(()));
        assert_eq!(
            permits.check(&asked(Some("main/guard/guard"), "join")).unwrap_err(),
            "the group \"main\" may not ask for the action \"join\"; to allow it, write \"main\" = [\"kick\", \"raw\", \
             \"join\"] under [actions] in the connector's configuration"
        );
        assert_eq!(permits.check(&asked(Some("mainly/guard/guard"), "join")), Ok(()));
    }
}
