//! `!whoami` and `!link`: who the bot takes people for, by their services accounts, and how two accounts of one person become
//! one profile. Also notes who is still there, so that nobody's roles rest without reason.

use protocol::{Account, Names};
use store::people::{Identity, Link, Offer, Profile};
use worker::{Ambience, Args, Catalogue, Database, Error, Event, Plugin, Sender, command, event};

use std::sync::Arc;

pub(crate) fn plugin() -> Plugin {
    Plugin::new("people")
        .on(command("whoami").help("who I take you for, and what you may do"), whoami)
        .on(command("link").usage("[code]").help("make two accounts of yours one, said in private"), link)
        .on(event("chat.*.*.names"), names)
        .on(event("chat.*.*.account"), account)
}

async fn whoami(sender: Sender, clock: Ambience) -> Result<String, Error> {
    let nick = &sender.nick;
    let Some(account) = &sender.account else {
        let log_in = "log in to a services account (often by /msg NickServ IDENTIFY), and I know who you are";
        return Ok(sender.answer(format!("all I see is your nick {nick}, which anybody may take: {log_in}")));
    };
    let Some(profile) = sender.profile().await? else { return Err(Error::NotForMe) };
    let this = sender.who().and_then(|who| profile.identity(who.source_id));
    let mut parts =
        vec![format!("{nick}, logged in to {account} on {}", sender.network), format!("profile {}", profile.id)];
    parts.extend(roles(&profile));
    if !profile.roles.is_empty() && this.is_some_and(|this| this.rests(clock.now())) {
        parts.push(
            "which rest, since this account was not seen for 30 days: an operator can grant them again".to_owned(),
        );
    }
    // which accounts belong together is for nobody else
    if sender.private {
        parts.extend(others(&profile, this));
    }
    Ok(sender.answer(format!("you are {}", parts.join(", "))))
}

fn roles(profile: &Profile) -> Option<String> {
    match profile.roles.as_slice() {
        [] => Some("no roles".to_owned()),
        [role] => Some(format!("role {role}")),
        roles => Some(format!("roles {}", roles.join(", "))),
    }
}

fn others(profile: &Profile, this: Option<&Identity>) -> Option<String> {
    let others: Vec<String> = profile.identities.iter().filter(|other| Some(*other) != this).map(named).collect();
    (!others.is_empty()).then(|| format!("also {}", others.join(", ")))
}

fn named(Identity { network, account, .. }: &Identity) -> String {
    format!("{network}/{account}")
}

async fn link(
    sender: Sender,
    args: Args,
    database: Database,
    clock: Ambience,
    catalogue: Arc<Catalogue>,
) -> Result<String, Error> {
    let people = database.people();
    if !sender.private {
        let burnt = !args.is_empty() && people.burn(&args).await?;
        let told = if burnt {
            "everybody has read that code now, so it is spent: say link to me in private for another"
        } else {
            "say that to me in private"
        };
        return Err(Error::tell(sender.answer(told)));
    }
    let Some(who) = sender.who() else {
        return Err(Error::tell("log in to a services account first: it is accounts that are linked, not nicks"));
    };
    if args.is_empty() {
        return Ok(match people.offer(&who, clock.random(), clock.now()).await? {
            Offer::Code(code) => format!(
                "logged in to your other account, say this to me in private within 10 minutes, and to nobody else: {}link {code}",
                catalogue.prefix
            ),
            Offer::TooMany => "you have five codes already: use one of them, or wait 10 minutes".to_owned(),
        });
    }
    Ok(match people.link(&who, &args, clock.now()).await? {
        Link::Joined(profile) => {
            let accounts: Vec<String> = profile.identities.iter().map(named).collect();
            format!("done: {} are one person now, profile {}", accounts.join(", "), profile.id)
        }
        Link::Own => "that code is for your other account: log in to that one, and say it from there".to_owned(),
        Link::Wrong => "there is no such code: it may be mistyped, used, or older than 10 minutes".to_owned(),
        Link::TooManyTries => "that were too many wrong codes: try again in 10 minutes".to_owned(),
        Link::HasRoles => {
            "this account has roles that the other hasn't: ask for a code with this one, and say it with the other"
                .to_owned()
        }
        Link::Rests => {
            "one of the accounts was not seen for 30 days, so I can't tell whose it is now: ask an operator".to_owned()
        }
    })
}

/// Who is logged in where the bot has just come in.
async fn names(event: Event<Names>, database: Database, clock: Ambience) -> Result<(), Error> {
    let mut accounts: Vec<&str> = event.body.members.iter().filter_map(|member| member.account.as_deref()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    Ok(database.people().seen(&event.body.head.network, &accounts, clock.now()).await?)
}

/// Somebody has logged in.
async fn account(event: Event<Account>, database: Database, clock: Ambience) -> Result<(), Error> {
    let accounts: Vec<&str> = event.body.account.iter().map(String::as_str).collect();
    Ok(database.people().seen(&event.body.head.network, &accounts, clock.now()).await?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::Timestamp;
    use serde_json::json;
    use store::people::Who;
    use store::testing::Temporary;
    use worker::testing::{FakeChat, NETWORK};
    use worker::{Worker, trigger};

    use super::*;

    const NO_ACCOUNT: &str = "which anybody may take: log in to a services account (often by /msg NickServ IDENTIFY), and I know who you are";
    const DAY: Duration = Duration::from_secs(86_400);
    /// When everything is said.
    const NOW: i64 = 1_700_000_000_000;

    struct Chat {
        memory: Temporary,
        chat: FakeChat,
    }

    /// A chat with `!whoami`, `!link`, and `!open`, which is for admins.
    async fn chat() -> Chat {
        let memory = Temporary::sqlite().await;
        let guarded = Plugin::new("guarded")
            .on(command("open").role("admin"), async || "it is open")
            .on(trigger("sesame").named("sesame").role("admin"), async || "it opens")
            .on(event("music.stop").named("music").role("admin"), async || "nobody may say this");
        let worker = Worker::new("main").plugins([plugin(), guarded]).database(memory.clone());
        Chat { chat: FakeChat::with_worker(worker).await, memory }
    }

    /// What an operator does.
    async fn grant(memory: &Temporary, account: &str) {
        let (people, now) = (memory.people(), Timestamp::from_millis(NOW));
        let found = match people.find_account(NETWORK, account).await.unwrap().pop() {
            Some(found) => found,
            None => people.introduce(NETWORK, account, now).await.unwrap(),
        };
        people.grant(found, "admin", "the operator", now).await.unwrap();
    }

    /// What follows the last word `link` of what the bot said.
    fn code(said: &str) -> String {
        said.rsplit("!link ").next().unwrap().to_owned()
    }

    async fn asks_for_a_code(chat: &mut FakeChat, nick: &str) -> String {
        code(&chat.says_privately(nick, "link").await.hears_something())
    }

    #[tokio::test]
    async fn whoami_tells_nick_account_profile_and_roles_and_how_to_log_in() {
        let Chat { mut chat, memory } = chat().await;
        chat.says("alice", "!whoami").await.hears(&format!("alice: all I see is your nick alice, {NO_ACCOUNT}"));
        chat.logs_in("alice", "Alice A").says("alice", "!whoami").await;
        chat.hears("alice: you are alice, logged in to Alice A on test, profile 1, no roles");
        grant(&memory, "Alice A").await;
        chat.says("alice", "!whoami").await;
        chat.hears("alice: you are alice, logged in to Alice A on test, profile 1, role admin");
    }

    #[tokio::test]
    async fn who_has_the_role_is_answered_and_who_has_not_is_told_what_it_needs() {
        let Chat { mut chat, memory } = chat().await;
        grant(&memory, "alice").await;
        chat.logs_in("alice", "alice").says("alice", "!open").await.hears("it is open");
        chat.says("alice", "sesame").await.hears("it opens");
        chat.logs_in("bob", "bob").says("bob", "!open").await.hears("bob: that needs the role admin");
        chat.says("carol", "sesame").await.hears("carol: that needs the role admin");
        chat.says_privately("carol", "open").await.hears("that needs the role admin");
        chat.happens("music.stop", json!({})).await.hears_nothing();
    }

    #[tokio::test]
    async fn without_a_database_nobody_has_a_role() {
        let guarded = Plugin::new("guarded").on(command("open").role("admin"), async || "it is open");
        let mut chat = FakeChat::with([guarded]).await;
        chat.logs_in("alice", "alice").says("alice", "!open").await.hears("alice: that needs the role admin");
    }

    #[tokio::test]
    async fn whoever_takes_an_admins_nick_is_nobody() {
        let Chat { mut chat, memory } = chat().await;
        grant(&memory, "alice").await;
        chat.logs_in("alice", "alice").says("alice", "!open").await.hears("it is open");
        // she leaves, as in a netsplit, and somebody else comes with her nick
        chat.logs_out("alice").says("alice", "!open").await.hears("alice: that needs the role admin");
        chat.says("alice", "!whoami").await.hears(&format!("alice: all I see is your nick alice, {NO_ACCOUNT}"));
        // with an account of their own
        chat.logs_in("alice", "mallory").says("alice", "!open").await.hears("alice: that needs the role admin");
        // she comes back with another nick
        chat.logs_in("alice_", "alice").says("alice_", "!open").await.hears("it is open");
    }

    #[tokio::test]
    async fn who_logs_out_is_nobody_until_they_log_in_again() {
        let Chat { mut chat, memory } = chat().await;
        grant(&memory, "alice").await;
        chat.logs_in("alice", "alice").says("alice", "!open").await.hears("it is open");
        chat.logs_out("alice").says("alice", "!open").await.hears("alice: that needs the role admin");
        chat.logs_in("alice", "alice").says("alice", "!open").await.hears("it is open");
    }

    #[tokio::test]
    async fn accounts_that_differ_in_case_are_two() {
        let Chat { mut chat, memory } = chat().await;
        grant(&memory, "Alice").await;
        chat.logs_in("alice", "alice").says("alice", "!open").await.hears("alice: that needs the role admin");
        chat.logs_in("alice", "Alice").says("alice", "!open").await.hears("it is open");
    }

    #[tokio::test]
    async fn the_same_account_on_another_network_is_another() {
        let Chat { mut chat, memory } = chat().await;
        let (people, now) = (memory.people(), Timestamp::from_millis(NOW));
        let there = people.introduce("oftc", "alice", now).await.unwrap();
        people.grant(there, "admin", "the operator", now).await.unwrap();
        chat.logs_in("alice", "alice").says("alice", "!open").await.hears("alice: that needs the role admin");
    }

    #[tokio::test]
    async fn an_account_that_may_have_a_new_owner_rests_until_it_is_granted_again() {
        let Chat { mut chat, memory } = chat().await;
        grant(&memory, "alice").await;
        chat.logs_in("alice", "alice").passes(29 * DAY).says("alice", "!open").await.hears("it is open");
        chat.passes(31 * DAY).says("alice", "!open").await.hears(
            "alice: that needs the role admin, and yours rests since your account was not seen for 30 days: \
             an operator can grant it again",
        );
        chat.says("alice", "!whoami").await.hears(
            "alice: you are alice, logged in to alice on test, profile 1, role admin, which rest, since this account was \
             not seen for 30 days: an operator can grant them again",
        );
        chat.says("alice", "!open").await.hears_something();
        let found = memory.people().find_account(NETWORK, "alice").await.unwrap()[0];
        let now = Timestamp::from_millis(NOW).plus(60 * DAY);
        memory.people().grant(found, "admin", "the operator", now).await.unwrap();
        chat.says("alice", "!open").await.hears("it is open");
    }

    #[tokio::test]
    async fn who_is_seen_in_a_channel_or_logs_in_does_not_rest() {
        let Chat { mut chat, memory } = chat().await;
        grant(&memory, "alice").await;
        let after = |days: u32| Timestamp::from_millis(NOW).plus(days * DAY);
        let members =
            json!([{"nick": "al", "prefix": "@", "account": "alice"}, {"nick": "bob", "prefix": "", "account": "bob"}]);
        let (id, place) = ("00000000-0000-7000-8000-0000000000aa", (NETWORK, "#test"));
        let names = json!({"id": id, "at": after(20), "network": place.0, "channel": place.1, "members": members});
        chat.passes(20 * DAY).happens("chat.irc.#test.names", names).await.hears_nothing();
        let login = json!({"id": id, "at": after(40), "network": place.0, "channel": place.1, "user": "al", "account": "alice"});
        chat.passes(20 * DAY).happens("chat.irc.#test.account", login).await.hears_nothing();
        chat.logs_in("alice", "alice").passes(20 * DAY).says("alice", "!open").await.hears("it is open");
        assert!(memory.people().find_account(NETWORK, "bob").await.unwrap().is_empty(), "nobody is made known by that");
    }

    #[tokio::test]
    async fn two_accounts_become_one_profile_by_a_code_said_in_private() {
        let Chat { mut chat, memory } = chat().await;
        grant(&memory, "alice").await;
        chat.logs_in("alice", "alice").logs_in("al", "work");
        let code = asks_for_a_code(&mut chat, "alice").await;
        chat.says_privately("al", "!open").await.hears("that needs the role admin");
        chat.says_privately("al", &format!("link {}", code.to_lowercase())).await;
        chat.hears("done: test/alice, test/work are one person now, profile 1");
        chat.says("al", "!open").await.hears("it is open");
        chat.says_privately("al", "whoami").await;
        chat.hears("you are al, logged in to work on test, profile 1, role admin, also test/alice");
        chat.logs_in("bob", "bob").says_privately("bob", &format!("link {code}")).await;
        chat.hears("there is no such code: it may be mistyped, used, or older than 10 minutes");
    }

    #[tokio::test]
    async fn a_code_said_in_a_channel_is_spent() {
        let Chat { mut chat, .. } = chat().await;
        chat.logs_in("alice", "alice").logs_in("al", "work");
        chat.says("alice", "!link").await.hears("alice: say that to me in private");
        chat.says("alice", "!link 0000-0000-0000").await.hears("alice: say that to me in private");
        let code = asks_for_a_code(&mut chat, "alice").await;
        chat.says("al", &format!("!link {code}"))
            .await
            .hears("al: everybody has read that code now, so it is spent: say link to me in private for another");
        chat.says_privately("al", &format!("link {code}")).await;
        chat.hears("there is no such code: it may be mistyped, used, or older than 10 minutes");
    }

    #[tokio::test]
    async fn a_code_lasts_ten_minutes_and_needs_another_account() {
        let Chat { mut chat, .. } = chat().await;
        chat.says_privately("al", "link").await;
        chat.hears("log in to a services account first: it is accounts that are linked, not nicks");
        chat.logs_in("alice", "alice").logs_in("al", "work");
        let code = asks_for_a_code(&mut chat, "alice").await;
        chat.says_privately("alice", &format!("link {code}")).await;
        chat.hears("that code is for your other account: log in to that one, and say it from there");
        chat.passes(Duration::from_secs(601)).says_privately("al", &format!("link {code}")).await;
        chat.hears("there is no such code: it may be mistyped, used, or older than 10 minutes");
    }

    #[tokio::test]
    async fn who_guesses_codes_has_five_tries_in_ten_minutes() {
        let Chat { mut chat, .. } = chat().await;
        chat.logs_in("alice", "alice").logs_in("mallory", "mallory");
        let code = asks_for_a_code(&mut chat, "alice").await;
        for _ in 0..5 {
            chat.says_privately("mallory", "link ZZZZ-ZZZZ-ZZZZ").await;
            chat.hears("there is no such code: it may be mistyped, used, or older than 10 minutes");
        }
        chat.says_privately("mallory", &format!("link {code}")).await;
        chat.hears("that were too many wrong codes: try again in 10 minutes");
        for _ in 1..5 {
            asks_for_a_code(&mut chat, "alice").await;
        }
        chat.says_privately("alice", "link").await;
        chat.hears("you have five codes already: use one of them, or wait 10 minutes");
    }

    #[tokio::test]
    async fn an_admin_who_is_talked_into_saying_a_code_gives_nothing_away() {
        let Chat { mut chat, memory } = chat().await;
        grant(&memory, "alice").await;
        chat.logs_in("alice", "alice").logs_in("mallory", "mallory");
        let code = asks_for_a_code(&mut chat, "mallory").await;
        chat.says_privately("alice", &format!("link {code}")).await;
        chat.hears(
            "this account has roles that the other hasn't: ask for a code with this one, and say it with the other",
        );
        chat.says("mallory", "!open").await.hears("mallory: that needs the role admin");
    }

    #[tokio::test]
    async fn an_account_that_rests_lends_its_roles_to_no_other() {
        let Chat { mut chat, memory } = chat().await;
        grant(&memory, "alice").await;
        chat.passes(31 * DAY).logs_in("alice", "alice").logs_in("mallory", "mallory");
        let code = asks_for_a_code(&mut chat, "alice").await;
        chat.says_privately("mallory", &format!("link {code}")).await;
        chat.hears("one of the accounts was not seen for 30 days, so I can't tell whose it is now: ask an operator");
        let who = Who::of(NETWORK, "mallory");
        let now = Timestamp::from_millis(NOW).plus(31 * DAY);
        assert!(!memory.people().has_role(&who, "admin", now).await.unwrap());
    }
}
