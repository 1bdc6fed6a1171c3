//! Says what is playing: `music.track` and `music.stop`, which any player's process may publish.
//!
//! It is said where the route `music` leads; without such a route, in every configured channel.

use protocol::{MusicTrack, Target};
use worker::{Event, Plugin, Reply, State, event};

use crate::Settings;

/// Where music is announced.
struct Places(Vec<Target>);

pub(crate) fn plugin(settings: &Settings) -> Plugin {
    let places = settings.routes.get("music").unwrap_or(&settings.channels).clone();
    Plugin::new("music").state(Places(places)).on(event("music.track"), now_playing).on(event("music.stop"), stopped)
}

async fn now_playing(track: Event<MusicTrack>, places: State<Places>) -> Vec<Reply> {
    let MusicTrack { title, artist, album } = track.body;
    let by = artist.filter(|artist| !artist.is_empty()).map(|artist| format!(" by {artist}")).unwrap_or_default();
    let on = album.filter(|album| !album.is_empty()).map(|album| format!(" ({album})")).unwrap_or_default();
    everywhere(&places, &format!("now playing: {title}{by}{on}"))
}

async fn stopped(places: State<Places>) -> Vec<Reply> {
    everywhere(&places, "the music has stopped")
}

fn everywhere(places: &Places, text: &str) -> Vec<Reply> {
    places.0.iter().map(|place| Reply::text(text).to(place.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use worker::testing::FakeChat;

    fn settings(routes: &[(&str, &str)]) -> Settings {
        let channels = ["test/#a", "test/#b"].map(|text| text.parse().unwrap());
        let routes = routes.iter().map(|(name, to)| (name.to_string(), vec![to.parse().unwrap()])).collect();
        Settings { routes, channels: channels.into(), ..Settings::default() }
    }

    #[tokio::test]
    async fn says_what_is_playing_in_every_channel() {
        let mut chat = FakeChat::with([plugin(&settings(&[]))]).await;
        chat.happens("music.track", json!({"title": "Blue", "artist": "Joni Mitchell", "album": "Blue"})).await;
        chat.hears_in("#a", "now playing: Blue by Joni Mitchell (Blue)");
        chat.hears_in("#b", "now playing: Blue by Joni Mitchell (Blue)");
        chat.happens("music.stop", json!({})).await;
        chat.hears_in("#a", "the music has stopped").hears_in("#b", "the music has stopped");
    }

    #[tokio::test]
    async fn says_it_on_the_route_music_where_there_is_one() {
        let mut chat = FakeChat::with([plugin(&settings(&[("music", "test/#radio")]))]).await;
        chat.happens("music.track", json!({"title": "Blue"})).await;
        chat.hears_in("#radio", "now playing: Blue");
    }

    #[tokio::test]
    async fn a_track_without_a_title_is_set_aside() {
        let mut chat = FakeChat::with([plugin(&settings(&[]))]).await;
        chat.happens("music.track", json!({"artist": "nobody"})).await.fails().await;
    }
}
