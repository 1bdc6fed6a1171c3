//! A handler that has much to say says little of it: at most five lines to one place.

use protocol::{Lines, more_lines};

use crate::Reply;
use crate::reply::{Place, What};

/// Lines that one handler may say to one place about one event.
const LINES: usize = 5;

/// The replies with at most five lines to each place. Where there were more, four are left and a fifth says how many
/// are not.
pub(crate) fn brief(replies: Vec<Reply>) -> Vec<Reply> {
    if replies.len() <= LINES && replies.iter().map(count).sum::<usize>() <= LINES {
        return replies;
    }
    let mut places: Vec<(Place, usize)> = Vec::new();
    for reply in &replies {
        let lines = count(reply);
        match places.iter_mut().find(|(place, _)| *place == reply.to) {
            Some((_, all)) => *all += lines,
            None => places.push((reply.to.clone(), lines)),
        }
    }
    let mut places: Vec<Room> = places.into_iter().map(Room::new).collect();
    let shorten = |reply: Reply| {
        let room = places.iter_mut().find(|room| room.place == reply.to);
        room.and_then(|room| room.shorten(reply))
    };
    replies.into_iter().filter_map(shorten).collect()
}

/// How much may still be said to a place.
struct Room {
    place: Place,
    left: usize,
    /// Lines that are not said.
    cut: usize,
}

impl Room {
    fn new((place, lines): (Place, usize)) -> Self {
        let left = if lines > LINES { LINES - 1 } else { lines };
        Room { place, left, cut: lines - left }
    }

    /// As much of it as there is room for.
    fn shorten(&mut self, reply: Reply) -> Option<Reply> {
        let lines = count(&reply);
        if lines <= self.left {
            self.left -= lines;
            return Some(reply);
        }
        if self.cut == 0 {
            return None;
        }
        let What::Say { content, kind } = reply.what else { return Some(reply) };
        let said = said(&content).take(self.left).map(str::to_owned);
        let content = Lines(said.chain([more_lines(self.cut)]).collect());
        (self.left, self.cut) = (0, 0);
        Some(Reply { what: What::Say { content, kind }, ..reply })
    }
}

/// The lines as they are said: a line end makes several, and empty ones are none.
fn said(lines: &Lines) -> impl Iterator<Item = &str> {
    lines.0.iter().flat_map(|line| line.split(['\r', '\n'])).filter(|line| !line.is_empty())
}

/// What is done is no line.
fn count(reply: &Reply) -> usize {
    match &reply.what {
        What::Say { content, .. } => said(content).count(),
        What::Do(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(replies: Vec<Reply>) -> Vec<String> {
        let text = |reply: Reply| match reply.what {
            What::Say { content, .. } => content.0.join("|"),
            What::Do(deed) => format!("{:?}", deed.kind()),
        };
        brief(replies).into_iter().map(text).collect()
    }

    fn numbers(count: usize) -> Vec<String> {
        (1..=count).map(|n| n.to_string()).collect()
    }

    #[test]
    fn five_lines_are_left_as_they_are_and_of_more_four_and_a_note() {
        assert_eq!(texts(vec![Reply::lines(numbers(5))]), ["1|2|3|4|5"]);
        assert_eq!(texts(vec![Reply::lines(numbers(6))]), ["1|2|3|4|… 2 more lines"]);
        assert_eq!(texts(vec![Reply::lines(numbers(10_000))]), ["1|2|3|4|… 9,996 more lines"]);
        assert_eq!(texts(vec![Reply::text(numbers(7).join("\r\n"))]), ["1|2|3|4|… 3 more lines"]);
    }

    #[test]
    fn many_replies_are_counted_together() {
        let replies: Vec<Reply> = numbers(10_000).into_iter().map(Reply::from).collect();
        assert_eq!(texts(replies), ["1", "2", "3", "4", "… 9,996 more lines"]);
        let pairs = (0..4).map(|_| Reply::lines(["a", "b"])).collect();
        assert_eq!(texts(pairs), ["a|b", "a|b", "… 4 more lines"]);
        let uneven = vec![Reply::lines(["a", "b", "c"]), Reply::lines(["d", "e", "f"]), Reply::text("g")];
        assert_eq!(texts(uneven), ["a|b|c", "d|… 3 more lines"]);
    }

    #[test]
    fn each_place_has_its_own_five() {
        let (here, private) = (|| Reply::lines(numbers(5)), || Reply::lines(numbers(6)).private());
        assert_eq!(texts(vec![here(), private()]), ["1|2|3|4|5", "1|2|3|4|… 2 more lines"]);
    }

    #[test]
    fn actions_are_no_lines() {
        let mut all: Vec<Reply> = numbers(6).into_iter().map(Reply::from).collect();
        all.push(crate::Action::kick("bob").into());
        assert_eq!(texts(all), ["1", "2", "3", "4", "… 2 more lines", "Kick"]);
    }

    #[test]
    fn an_empty_line_is_none() {
        assert_eq!(texts(vec![Reply::text("a\n\n\n\n\n\nb")]), ["a\n\n\n\n\n\nb"]);
    }
}
