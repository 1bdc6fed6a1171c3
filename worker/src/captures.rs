//! Named groups of a regular expression as a serde data source: each group is a field, its text is read as the field's
//! type needs it.

use serde::de::value::{Error, MapDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// Reads `T` from groups: name, and text where the group took part in the match.
///
/// # Errors
/// When a group is missing that `T` needs, or its text is no such number, truth value or variant.
pub(crate) fn read<T: DeserializeOwned>(groups: &[(String, Option<String>)]) -> Result<T, Error> {
    let fields = groups.iter().map(|(name, text)| (name.as_str(), Text(text.as_deref())));
    T::deserialize(MapDeserializer::new(fields))
}

/// A group's text; `None` where the group took no part.
struct Text<'t>(Option<&'t str>);

impl<'de> IntoDeserializer<'de, Error> for Text<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty),+ $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let text = self.0.unwrap_or_default();
            let value = text.parse::<$type>().map_err(|why| {
                serde::de::Error::custom(format_args!("{text:?} is no {}: {why}", stringify!($type)))
            })?;
            visitor.$visit(value)
        }
    )+};
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = Error;

    parsed! {
        deserialize_bool visit_bool bool,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Some(text) => visitor.visit_borrowed_str(text),
            None => visitor.visit_borrowed_str(""),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Some(_) => visitor.visit_some(self),
            None => visitor.visit_none(),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self.0.unwrap_or_default().into_deserializer())
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Env {
        Prod,
        Staging,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Deploy {
        env: Env,
        count: u8,
        ratio: f32,
        note: Option<String>,
        name: String,
    }

    fn groups(list: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        list.iter().map(|(name, text)| (name.to_string(), text.map(str::to_owned))).collect()
    }

    #[test]
    fn groups_become_fields_of_their_types() {
        let given = groups(&[
            ("env", Some("prod")),
            ("count", Some("3")),
            ("ratio", Some("0.5")),
            ("note", None),
            ("name", Some("42")),
        ]);
        let expected = Deploy { env: Env::Prod, count: 3, ratio: 0.5, note: None, name: "42".into() };
        assert_eq!(read::<Deploy>(&given), Ok(expected));
    }

    #[test]
    fn text_that_is_no_number_or_variant_is_an_error() {
        for (env, count) in [("prod", "300"), ("prod", "x"), ("moon", "1")] {
            let given = groups(&[
                ("env", Some(env)),
                ("count", Some(count)),
                ("ratio", Some("1")),
                ("note", None),
                ("name", Some("")),
            ]);
            assert!(read::<Deploy>(&given).is_err(), "{env} {count}");
        }
    }
}
