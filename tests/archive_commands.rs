//! The archive from another shell, on both engines: logs come in once, lines are found, exports come in again as they
//! went out, and what makes no sense is said in one sentence.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use servers::{Output, PostgreSql, Program};
use tempfile::TempDir;

use crate::world::pubbot_executable;

/// Which database.
#[derive(Clone, Copy)]
enum Engine {
    Sqlite,
    Postgres,
}

/// A migrated database with its configuration, and files beside it.
struct Memory {
    folder: TempDir,
}

impl Memory {
    fn new(engine: Engine) -> Self {
        let memory = Self::unmigrated(engine);
        memory.does(&["migrate"]);
        memory
    }

    fn unmigrated(engine: Engine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match engine {
            Engine::Sqlite => format!("sqlite:{}", folder.path().join("memory.db").display()),
            Engine::Postgres => PostgreSql::shared().database(),
        };
        let text = format!("data_dir = {:?}\n[database]\nurl = {url:?}\n", folder.path().join("data"));
        fs::write(folder.path().join("pubbot.toml"), text).unwrap();
        Memory { folder }
    }

    /// Writes a file into the folder, and the folders on its way.
    fn write(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn start(&self, arguments: &[&str]) -> Program {
        let config = self.folder.path().join("pubbot.toml");
        let arguments = [&["--config", config.to_str().unwrap()], arguments].concat();
        let mut program = Program::start(pubbot_executable(), &arguments, &[("TZ", "UTC")]);
        program.close_stdin();
        program
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).wait()
    }

    /// Runs it, and what it prints.
    fn does(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", output.stderr);
        output.stdout
    }

    /// Imports the three sample logs.
    fn import_samples(&self) -> String {
        let (irssi, weechat) = (self.write(IRSSI.0, IRSSI.1), self.write(WEECHAT.0, WEECHAT.1));
        let znc = self.write(ZNC.0, ZNC.1);
        self.does(&["archive", "import", "--network", "libera", "--zone", "UTC", &irssi, &weechat, &znc])
    }
}

const IRSSI: (&str, &str) = (
    "irclogs/Libera.Chat/#rust.log",
    "\
--- Log opened Sat Nov 28 10:00:00 2026
10:00 < alice> hello, the \u{2}borrow\u{2} checker
10:00 < bob> \u{1b}[2J rust-lang is at https://example.org/a?b=1
10:01 < bob> the checker will borrow it
10:01  * alice waves
10:02 -!- carol [~carol@host.example] has joined #rust
10:03 -!- carol [~carol@host.example] has quit [gone]
--- Log closed Sat Nov 28 10:03:30 2026
",
);
const WEECHAT: (&str, &str) =
    ("irc.libera.#radio.weechatlog", "2026-11-27 09:00:00\talice\tnow playing: Blue\n2026-11-27 09:00:00\talice\thm\n");
const ZNC: (&str, &str) = ("znc/alice/libera/#rust/2026-11-29.log", "[08:00:00] <dave> Café at ten?\n");

macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() { super::$name(super::Engine::Sqlite) })+
        }
        mod postgres {
            $(#[test] fn $name() { super::$name(super::Engine::Postgres) })+
        }
    };
}

on_both!(
    logs_are_imported_once_and_found,
    broken_lines_are_counted_and_shown_and_the_rest_is_imported,
    a_file_that_is_no_log_is_told_and_the_others_are_imported,
    a_search_goes_on_page_by_page,
    an_export_that_is_imported_is_exported_again_as_it_was,
    an_export_is_of_the_channels_the_period_and_the_search_that_are_named,
    what_an_account_said_is_forgotten_and_a_line_dropped,
    a_bad_search_gives_results_or_one_sentence,
    a_database_without_its_tables_is_one_line,
);

fn logs_are_imported_once_and_found(engine: Engine) {
    let memory = Memory::new(engine);
    assert_eq!(memory.import_samples(), "11 lines read\n 9 imported\n 0 there already\n 0 broken\n");
    assert_eq!(memory.import_samples(), "11 lines read\n 0 imported\n 9 there already\n 0 broken\n");

    let found = memory.does(&["search", "borrow", "checker", "--zone", "+01:00"]);
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 2, "{found}");
    assert!(lines[0].starts_with("2026-11-28 11:01:00 libera/#rust <bob> the checker will borrow it  "), "{found}");
    assert!(lines[1].starts_with("2026-11-28 11:00:00 libera/#rust <alice> hello, the borrow checker  "), "{found}");
    assert!(memory.does(&["search", "\"borrow checker\""]).contains("<alice>"));
    assert_eq!(memory.does(&["search", "rust-lang from:BOB in:#RUST"]).lines().count(), 1);
    assert!(memory.does(&["search", "cafe"]).contains("Café at ten?"));
    assert_eq!(memory.does(&["search", "checker -hello", "before:2026-11-29"]).lines().count(), 1);
    let steering = memory.does(&["search", "example.org"]);
    assert!(!steering.contains('\u{1b}'), "{steering:?}");

    let nothing = memory.run(&["search", "nowhere"]);
    assert!(nothing.status.success() && nothing.stdout.is_empty() && nothing.stderr == "nothing was found\n");
    let json = memory.does(&["search", "playing", "--json"]);
    let line: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&line["channel"], &line["text"]), (&"#radio".into(), &"now playing: Blue".into()));

    let channels = memory.does(&["archive", "channels", "--zone", "UTC"]);
    assert_eq!(
        channels,
        "channel        first             last              messages\n\
         libera/#radio  2026-11-27 09:00  2026-11-27 09:00         2\n\
         libera/#rust   2026-11-28 10:00  2026-11-29 08:00         5\n"
    );
}

fn broken_lines_are_counted_and_shown_and_the_rest_is_imported(engine: Engine) {
    let memory = Memory::new(engine);
    let nonsense: String = (0..14).map(|n| format!("no line of a log \u{1b}[2J {n}\n")).collect();
    let log = memory
        .write("#c.log", &format!("--- Log opened Sat Nov 28 10:00:00 2026\n10:00 < a> hi\n{nonsense}10:01 < b> ho\n"));
    let output = memory.run(&["archive", "import", "--network", "n", "--zone", "UTC", "--format", "irssi", &log]);
    assert!(output.status.success(), "{}", output.stderr);
    assert_eq!(output.stdout, "17 lines read\n 2 imported\n 0 there already\n14 broken\n");
    assert_eq!(output.stderr.matches(&format!("{log}: line ")).count(), 10, "{}", output.stderr);
    assert!(output.stderr.contains("line 3: it does not begin with a time"), "{}", output.stderr);
    assert!(output.stderr.contains("and 4 more broken lines"), "{}", output.stderr);
    assert!(!output.stderr.contains('\u{1b}'), "{:?}", output.stderr);
}

fn a_file_that_is_no_log_is_told_and_the_others_are_imported(engine: Engine) {
    let memory = Memory::new(engine);
    let diary = memory.write("diary.txt", "Dear diary,\n");
    let private = memory.write("irclogs/n/bob.log", "10:00 < bob> psst\n");
    let (missing, empty) = (memory.folder.path().join("gone.log"), memory.write("empty.log", ""));
    let good = memory.write("#c.log", "--- Log opened Sat Nov 28 10:00:00 2026\n10:00 < a> hi\n");
    let files = [&*diary, &private, missing.to_str().unwrap(), &empty, memory.folder.path().to_str().unwrap(), &good];
    let output = memory.run(&[&["archive", "import", "--network", "n"], &files[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert_eq!(output.stdout, "2 lines read\n1 imported\n0 there already\n0 broken\n");
    for (file, why) in [(0, "--format"), (1, "--channel"), (2, "can't be read"), (4, "is a folder")] {
        let told = output.stderr.lines().find(|line| line.starts_with(&format!("{}: ", files[file])));
        assert!(told.is_some_and(|line| line.contains(why)), "{why}: {}", output.stderr);
    }
    assert!(output.stderr.contains("--zone"), "which zone it took is told: {}", output.stderr);
    let nowhere = memory.run(&["archive", "import", &good]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(nowhere.stderr.contains("--network"), "{}", nowhere.stderr);
}

fn a_search_goes_on_page_by_page(engine: Engine) {
    let memory = Memory::new(engine);
    let lines: String = (0..25).map(|n| format!("10:{n:02} < a> word number{n}\n")).collect();
    let log = memory.write("#c.log", &format!("--- Log opened Sat Nov 28 10:00:00 2026\n{lines}"));
    memory.does(&["archive", "import", "--network", "n", &log]);
    let (mut seen, mut before) = (Vec::new(), i64::MAX.to_string());
    for expected in [10, 10, 5] {
        let page = memory.run(&["search", "word", "--limit", "10", "--before", &before]);
        assert_eq!(page.stdout.lines().count(), expected, "{}", page.stdout);
        seen.extend(page.stdout.lines().map(str::to_owned));
        assert_eq!(page.stderr.contains("--before"), expected == 10, "{}", page.stderr);
        before = page.stderr.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    }
    let newest_first: Vec<String> = (0..25).rev().map(|n| format!("number{n} ")).collect();
    assert!(seen.iter().zip(&newest_first).all(|(line, number)| line.contains(number)), "{seen:?}");
}

/// JSON lines with all that a record can hold.
const JSON: &str = concat!(
    r##"{"event_id":"0190163d-8694-739b-aea5-966c26f8ad90","at":"2026-11-28T10:00:05.123Z","seq":3,"network":"libera","##,
    r##""channel":"#rust","kind":"chat","nick":"alice","account":"Al","msgid":"x/1","text":"\u0002hi\u0002 “you”\nand you"}"##,
    "\n",
    r##"{"event_id":"0190163d-8694-739b-aea5-966c26f8ad91","at":"2026-11-28T10:00:06.000Z","seq":4,"network":"libera","##,
    r##""channel":"#rust","kind":"kick","nick":"alice","whom":"bob","text":""}"##,
    "\n",
);

fn an_export_that_is_imported_is_exported_again_as_it_was(engine: Engine) {
    let memory = Memory::new(engine);
    memory.import_samples();
    let json = memory.write("all.jsonl", JSON);
    memory.does(&["archive", "import", &json]);
    let exported = memory.does(&["archive", "export"]);
    assert_eq!(exported.lines().count(), 11, "{exported}");
    JSON.lines().for_each(|line| assert!(exported.contains(line), "{exported}"));

    let other = Memory::new(engine);
    let file = other.write("export.jsonl", &exported);
    assert!(other.does(&["archive", "import", &file]).contains("11 imported"));
    let again = other.folder.path().join("again.jsonl");
    other.does(&["archive", "export", "--out", again.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&again).unwrap(), exported);
    let part = other.folder.path().join("again.jsonl.part");
    assert!(!part.exists(), "a finished export has its own name");
    assert!(other.does(&["search", "borrow"]).contains("<alice>"));
}

fn an_export_is_of_the_channels_the_period_and_the_search_that_are_named(engine: Engine) {
    let memory = Memory::new(engine);
    memory.import_samples();
    let export = |more: &[&str]| memory.does(&[&["archive", "export", "--zone", "UTC"], more].concat());
    assert_eq!(export(&["--channel", "libera/#RADIO"]).lines().count(), 2);
    assert_eq!(export(&["--channel", "libera/#radio", "--channel", "libera/#rust"]).lines().count(), 9);
    assert_eq!(export(&["--from", "2026-11-28", "--to", "2026-11-29"]).lines().count(), 6);
    let checkers = export(&["--search", "checker"]);
    assert!(checkers.lines().count() == 2 && checkers.find("hello") < checkers.find("will borrow"), "{checkers}");
    assert_eq!(
        export(&["--search", "from:alice", "--channel", "libera/#radio", "--to", "2026-11-28"]).lines().count(),
        2
    );

    let irssi = export(&["--channel", "libera/#rust", "--format", "irssi", "--to", "2026-11-29"]);
    assert!(irssi.contains("10:01:00  * alice waves\n"), "{irssi}");
    let file = memory.write("export/#rust.log", &irssi);
    let back = Memory::new(engine);
    assert!(back.does(&["archive", "import", "--network", "libera", "--zone", "UTC", &file]).contains("6 imported"));
    assert!(export(&["--channel", "libera/#rust", "--format", "mirc"]).contains("[10:01:00] * alice waves\r\n"));

    for (arguments, status, expected) in [
        (&["--format", "irssi"][..], 2, "--channel"),
        (&["--channel", "libera/#mars"], 1, "libera/#mars"),
        (&["--from", "yesterdayish"], 2, "yesterdayish"),
        (&["--from", "2026-11-29", "--to", "2026-11-28"], 2, "no time"),
        (&["--search", "\""], 2, "needs a word"),
        (&["--out", "/nowhere/x.jsonl"], 1, "/nowhere/x.jsonl can't be written"),
    ] {
        let output = memory.run(&[&["archive", "export"], arguments].concat());
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", output.stderr);
        assert!(output.stderr.contains(expected), "{arguments:?}: {}", output.stderr);
        assert_eq!(output.stderr.trim().lines().count(), 1, "{}", output.stderr);
    }
}

fn what_an_account_said_is_forgotten_and_a_line_dropped(engine: Engine) {
    let memory = Memory::new(engine);
    memory.import_samples();
    let json = memory.write("all.jsonl", JSON);
    memory.does(&["archive", "import", &json]);
    let typo = memory.run(&["archive", "forget", "liberia/al"]);
    assert_eq!(typo.status.code(), Some(2), "{}", typo.stderr);
    assert!(typo.stderr.contains("libera"), "{}", typo.stderr);
    let forgotten = memory.run(&["archive", "forget", "libera/al"]);
    assert!(forgotten.status.success() && forgotten.stderr.contains("1 line was"), "{}", forgotten.stderr);
    assert_eq!(memory.does(&["search", "you"]), "");
    assert!(memory.does(&["archive", "import", &json]).contains("0 imported\n2 there already"));
    assert!(memory.run(&["archive", "remember", "libera/al"]).stderr.contains("remembered again"));
    assert!(memory.run(&["archive", "remember", "libera/al"]).stderr.contains("was not forgotten"));
    assert!(memory.does(&["archive", "import", &json]).contains("1 imported"));

    let found = memory.does(&["search", "waves"]);
    let key = found.trim().rsplit(' ').next().unwrap();
    assert!(memory.run(&["archive", "drop", key]).status.success());
    assert_eq!(memory.does(&["search", "waves"]), "");
    assert!(!memory.does(&["archive", "export"]).contains("waves"));
    let gone = memory.run(&["archive", "drop", key]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(gone.stderr.contains(key), "{}", gone.stderr);
}

fn a_bad_search_gives_results_or_one_sentence(engine: Engine) {
    let memory = Memory::new(engine);
    memory.import_samples();
    let long = "x".repeat(10 * 1024);
    for (search, status) in [
        ("\"", 2),
        ("%", 2),
        ("", 2),
        ("-hello -there", 2),
        ("before:yesterdayish", 2),
        ("from:", 2),
        (&*long, 2),
        ("after:2027 before:2026", 2),
        ("'; DROP TABLE messages--", 0),
        ("\\ & | ! ( ) : * hello", 0),
        ("\"unclosed", 0),
        ("hello AND NOT NEAR(", 0),
        ("in:'; from:\"; DROP TABLE--\"", 0),
        ("\u{2}\u{1b}hello", 0),
    ] {
        let output = memory.run(&["search", "--", search]);
        assert_eq!(output.status.code(), Some(status), "{search:?}: {}", output.stderr);
        assert_eq!(
            output.stderr.trim_end().lines().count(),
            usize::from(output.stdout.is_empty()),
            "{}",
            output.stderr
        );
        assert!(output.stderr.len() < 400 && !output.stderr.trim().contains(char::is_control), "{:?}", output.stderr);
    }
    assert_eq!(memory.does(&["search", "hello"]).lines().count(), 1, "everything is still there");
}

fn a_database_without_its_tables_is_one_line(engine: Engine) {
    let memory = Memory::unmigrated(engine);
    let log = memory.write(IRSSI.0, IRSSI.1);
    for arguments in [&["search", "x"][..], &["archive", "channels"], &["archive", "import", "--network", "n", &log]] {
        let output = memory.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
        assert!(output.stderr.contains("pubbot migrate"), "{}", output.stderr);
        assert_eq!(output.stderr.trim().lines().count(), 1, "{}", output.stderr);
    }
    assert!(matches!(engine, Engine::Postgres) || !memory.folder.path().join("memory.db").exists());
}

#[test]
fn a_database_that_is_away_locked_or_newer_is_one_line() {
    let newer = Memory::new(Engine::Sqlite);
    let url = PostgreSql::shared().database();
    let away = url.replace(&format!(":{}/", PostgreSql::shared().port()), ":1/");
    let output = newer.run(&["--database-url", &away, "search", "x"]);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("is away"), "{}", output.stderr);
    assert_eq!(output.stderr.trim().lines().count(), 1, "{}", output.stderr);

    let migrated = newer.run(&["--database-url", &url, "migrate"]);
    assert!(migrated.status.success(), "{}", migrated.stderr);
    PostgreSql::shared().query(&url, "INSERT INTO migrations VALUES ('m29990101_01_future', 0)").unwrap();
    let output = newer.run(&["--database-url", &url, "search", "x"]);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("newer"), "{}", output.stderr);
    assert_eq!(output.stderr.trim().lines().count(), 1, "{}", output.stderr);
}

#[test]
fn an_import_that_is_stopped_keeps_what_it_has_and_goes_on() {
    let memory = Memory::new(Engine::Sqlite);
    let pipe = memory.folder.path().join("log");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.to_str().unwrap();
    let mut import =
        memory.start(&["archive", "import", "--network", "n", "--channel", "#c", "--format", "irssi", pipe]);
    let mut log = fs::OpenOptions::new().write(true).open(pipe).unwrap();
    let lines: String = (0..60).map(|n| format!("10:{n:02} < a> stopped {n}\n").repeat(40)).collect();
    std::io::Write::write_all(&mut log, format!("--- Log opened Sat Nov 28 10:00:00 2026\n{lines}").as_bytes())
        .unwrap();
    while memory.does(&["search", "stopped"]).is_empty() {
        std::thread::yield_now();
    }
    import.terminate();
    let output = import.wait();
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("goes on"), "{}", output.stderr);
    assert!(output.stdout.contains(" imported\n"), "{}", output.stdout);
    assert!(!memory.does(&["search", "stopped"]).is_empty());
}
