//! What a configuration says, and how it is told what is wrong with one: with its place, what was expected, and never a
//! secret.

use std::time::Duration;

use super::*;
use connector::Permits;
use connector::irc::{ClientCertificate, Fingerprint, Flood, Mechanism, Sasl, Server, Tls, Trust};
use protocol::DeedKind;

/// Reads a file of this text, with these variables.
fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    load_over(text, variables, Overrides::default())
}

fn load_over(text: &str, variables: &[(&str, &str)], overrides: Overrides) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pubbot.toml");
    std::fs::write(&path, text).unwrap();
    let overrides = Overrides { config: Some(path), ..overrides };
    Config::load(&variables.iter().copied().collect(), &overrides).map_err(|report| report.to_string())
}

/// What is told of a wrong file: it must be at this place, and say all of this.
#[track_caller]
fn complains(text: &str, place: &str, expected: &[&str]) {
    let report = load(text, &[]).unwrap_err();
    assert!(report.contains(&format!("pubbot.toml:{place}: ")), "{report}");
    for part in expected {
        assert!(report.contains(part), "{part}: {report}");
    }
}

#[track_caller]
fn complains_of_variable(name: &str, value: &str, expected: &[&str]) {
    let report = load("[networks.libera]\nurl = 'irc://h'", &[(name, value)]).unwrap_err();
    assert!(report.starts_with(&format!("environment variable {name}: ")), "{report}");
    for part in expected {
        assert!(report.contains(part), "{part}: {report}");
    }
}

#[test]
fn without_anything_there_are_defaults() {
    let config = load("", &[]).unwrap();
    assert_eq!((&config.data_dir, config.durability), (&PathBuf::from("data"), Durability::Process));
    assert_eq!((config.broker, config.prefix.as_str(), config.group.as_str()), (Broker::Embedded, "pubbot", "main"));
    assert!(config.networks.is_empty() && config.routes.is_empty() && config.plugins.is_none());
}

#[test]
fn the_example_is_right_and_names_every_key() {
    let example = include_str!("../../pubbot.example.toml");
    let config = load(example, &[]).unwrap();
    let [home, libera] = config.networks.as_slice() else { panic!("{:?}", config.networks) };
    assert_eq!(libera.servers, [Server::encrypted("irc.libera.chat", 6697)]);
    assert_eq!(home.servers, [Server::plain("localhost", 6667)]);
    assert_eq!(libera.tls, Tls::default());
    assert_eq!(libera.flood, Flood::default());
    assert_eq!(libera.channels[1].key, Some(Secret::new("sesame")));
    assert_eq!(config.routes["news"].len(), 3);
    assert_eq!(config.keep.all, Some(Duration::from_secs(31_557_600)));
    assert_eq!(
        config.keep.channels[&"libera/#pubbot-private".parse().unwrap()],
        Some(Duration::from_secs(30 * 86_400))
    );
    let all = plugins::NAMES;
    assert_eq!(config.plugins.unwrap(), all);
    let uncommented = example.replace("# password = ", "password = ");
    assert!(load(&uncommented, &[]).unwrap().networks[1].password.is_some());
    for key in network::KEYS {
        assert!(example.contains(&format!("\n{key} = ")) || example.contains(&format!("\n# {key} = ")), "{key}");
    }
}

#[test]
fn the_keys_of_variables_are_the_keys_of_a_network() {
    let report = load("[networks.n]\nurl = 'irc://h'\nx = 1", &[]).unwrap_err();
    for key in network::KEYS {
        assert!(report.contains(key), "{key}: {report}");
    }
    let listed = report.split("keys in [networks.n]: ").nth(1).unwrap().split(", ").count();
    assert_eq!(listed, network::KEYS.len(), "{report}");
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_the_nearest_one() {
    complains(
        "datadir = 'x'",
        "1:1",
        &["\"datadir\"", "did you mean \"data_dir\"?", "1 | datadir = '*'\n", "| ^^^^^^^\n"],
    );
    complains("[broker]\n url = 'embedded:'\n prefx = 'x'", "3:2", &["in [broker]", "\"prefix\"", "url, prefix"]);
    complains("[networks.a]\nurl='irc://h'\nnik='x'", "3:1", &["in [networks.a]", "did you mean \"nick\"?"]);
    complains("networks.a = { url='irc://h', nik='x' }", "1:31", &["in [networks.a]", "\"nick\""]);
    complains("[networks.a]\nurl='irc://h'\nchannels=['#a',\n  {name='#b', kye='s'}]", "4:15", &["\"key\""]);
    complains("[networks.a]\nurl='irc://h'\nflood={ bust=1, burst=1, per_second=1 }", "3:9", &["\"burst\""]);
    complains("[broket]\nurl = 'x'", "1:2", &["did you mean \"broker\"?"]);
    complains("# ärger\n'ärger' = 1", "2:1", &["| ^^^^^^^"]);
    complains("log.level = 'x'", "1:1", &["unknown key \"log\" at the top", "keys at the top: data_dir, durability"]);
}

#[test]
fn a_wrong_type_is_told_with_what_was_expected() {
    complains("data_dir = 5", "1:12", &["data_dir: expected text in quotes, found a number"]);
    complains("broker = 'embedded:'", "1:10", &["broker: expected a table, found text"]);
    complains("[[networks]]\nurl='x'", "1:1", &["networks: expected a table, found a list"]);
    complains("[networks.a]\nurl='irc://h'\nchannels = 5", "3:12", &["networks.a.channels: expected a list"]);
    complains("[networks.a]\nurl='irc://h'\nchannels = ['#a', 5]", "3:19", &["a channel's name", "found a number"]);
    complains("[routes]\na = [true]", "2:6", &["routes.a: expected text in quotes, found true or false"]);
    complains("[worker]\nplugins = 'ping'", "2:11", &["worker.plugins: expected a list"]);
    complains("[networks.a]\nurl = 2026-01-01", "2:7", &["found a date"]);
}

#[test]
fn groups_have_their_actions() {
    let network = "[networks.n]\nurl = 'irc://h'\n[networks.m]\nurl = 'irc://h'\n";
    let config = load(&format!("{network}[actions]\nmain = ['kick', 'raw']\npy = []"), &[]).unwrap();
    let permits = Permits::new(
        [("main".to_owned(), [DeedKind::Kick, DeedKind::Raw].into()), ("py".to_owned(), [].into())].into(),
    );
    assert!(config.networks.iter().all(|network| network.permits == permits));
    assert_eq!(load(network, &[]).unwrap().networks[0].permits, Permits::default());
    complains(
        "[actions]\nmain = ['kik']",
        "2:9",
        &["actions.main: there is no action \"kik\"", "\"kick\"?", "tag, raw"],
    );
    complains("[actions]\nmain = 'kick'", "2:8", &["actions.main: expected a list"]);
    complains("[actions]\n'a/b' = []", "2:1", &["\"a/b\" is no worker group's name"]);
    complains("actions = 5", "1:11", &["actions: expected a table"]);
}

#[test]
fn a_wrong_value_is_told_with_its_place() {
    complains("[networks.a]\nnick='x'", "1:11", &["networks.a.url is missing"]);
    complains("[networks.a]\nurl='http://h'", "2:5", &["networks.a.url", "ircs://"]);
    complains("[networks.console]\nurl='irc://h'", "1:11", &["terminal"]);
    complains("[networks.'a b']\nurl='irc://h'", "1:11", &["no network's name"]);
    complains("[networks.a]\nurl='irc://h'\nnick='a b'", "3:6", &["is no nick"]);
    complains("[networks.a]\nurl='irc://h'\nchannels=['rust']", "3:11", &["did you mean \"#rust\"?"]);
    complains("[networks.a]\nurl='irc://h'\nchannels=['#a,#b']", "3:11", &["a comma"]);
    complains("[networks.a]\nurl='irc://h'\nchannels=[{key='k'}]", "3:11", &["name: expected"]);
    complains(
        "[networks.a]\nurl='irc://h'\nignore=['badbot']",
        "3:9",
        &["networks.a.ignore: \"badbot\" is no mask", "badbot!*@*"],
    );
    complains("[networks.a]\nurl='irc://h'\nignore='*!*@x'", "3:8", &["expected a list in brackets"]);
    complains(
        &format!("[networks.a]\nurl='irc://h'\nignore={:?}", ["a!*@*"; 101]),
        "3:8",
        &["at most 100 masks, found 101"],
    );
    complains("[networks.a]\nurl='irc://h..example'", "2:5", &["networks.a.url", "two of its dots"]);
    complains("[networks.a]\nurl='irc://h'\nflood='learned'", "3:7", &["\"auto\", \"off\"", "burst"]);
    complains("[networks.a]\nurl='irc://h'\nflood={burst=0,per_second=1}", "3:14", &["from 1 to 1000"]);
    complains("[networks.a]\nurl='irc://h'\nflood={burst=1}", "3:7", &["per_second is missing"]);
    complains("[networks.a]\nurl='irc://h'\nflood={burst=1,per_second=nan}", "3:27", &["lines a second"]);
    complains("[routes]\nnews = ['libera/#a']", "2:9", &["routes.news", "no network \"libera\""]);
    complains("[networks.a]\nurl='h'\n[routes]\nnews = ['b/#c']", "4:9", &["no network \"b\""]);
    complains("[routes]\nnews = ['#a']", "2:9", &["network/#channel"]);
    complains("[routes]\n'a/b' = ['console/#console']", "2:1", &["no route's name"]);
    complains("[worker]\ngroup = 'a.b'", "2:9", &["worker group's name"]);
    complains("[worker]\nordered = 'yes'", "2:11", &["worker.ordered: expected true or false, found text"]);
    complains("[worker]\nplugins = ['pong']", "2:12", &["no plugin \"pong\": did you mean \"ping\"?", "plugins: help"]);
    complains("durability = 'disk'", "1:14", &["durability: \"disk\" is none", "\"process\"", "\"power\""]);
    complains("durability = true", "1:14", &["durability: expected text in quotes, found true or false"]);
    complains("[broker]\nurl = 'rabbit'", "2:7", &["amqp://"]);
    complains("[broker]\nprefix = 'a b'", "2:10", &["is no prefix"]);
}

#[test]
fn ignored_masks_are_a_list_or_words_with_commas() {
    let masks = |text: &str, variables: &[(&str, &str)]| -> Vec<String> {
        load(text, variables).unwrap().networks[0].ignore.iter().map(ToString::to_string).collect()
    };
    let text = "[networks.libera]\nurl='irc://h'\nignore=['*!*@spam.example', 'bad!*@*']";
    assert_eq!(masks(text, &[]), ["*!*@spam.example", "bad!*@*"]);
    assert_eq!(masks(text, &[("PUBBOT_NETWORKS_LIBERA_IGNORE", "a!*@*,b!*@*")]), ["a!*@*", "b!*@*"]);
    assert!(masks(text, &[("PUBBOT_NETWORKS_LIBERA_IGNORE", "")]).is_empty());
    assert!(masks("[networks.a]\nurl='irc://h'\nignore=[]", &[]).is_empty());
}

#[test]
fn a_file_that_is_no_toml_is_told_with_its_place() {
    complains("data_dir = ", "1:12", &["no TOML"]);
    complains("[broker]\nurl 'x'", "2:5", &["no TOML"]);
    complains("a = 1\na = 2", "2:1", &["duplicate key"]);
    complains("[networks.a]\nurl = \"irc://h\nnick = 'x'", "2:15", &["no TOML"]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file() {
    let report = load("x = 1\ndata_dir = 1\n[broker]\nurl = 'y'", &[("PUBBOT_WORKER_GROUP", "a b")]).unwrap_err();
    let places: Vec<usize> =
        [":1:1:", ":2:12:", ":4:7:", "PUBBOT_WORKER_GROUP"].iter().map(|part| report.find(part).unwrap()).collect();
    assert!(places.is_sorted(), "{report}");
}

#[test]
fn a_network_with_a_mistake_is_a_network_for_its_routes() {
    let report = load("[networks.a]\nurl='h'\n[routes]\nnews = ['a/#c']", &[]).unwrap_err();
    assert!(report.contains("networks.a.url") && !report.contains("routes"), "{report}");
}

#[test]
fn a_named_file_must_exist() {
    let overrides = Overrides { config: Some("/nowhere/x.toml".into()), ..Overrides::default() };
    let report = Config::load(&Environment::default(), &overrides).unwrap_err().to_string();
    assert_eq!(report, "--config names the file /nowhere/x.toml, which does not exist");
    let environment = [("PUBBOT_CONFIG", "/nowhere/x.toml")].into_iter().collect();
    let report = Config::load(&environment, &Overrides::default()).unwrap_err().to_string();
    assert!(report.starts_with("PUBBOT_CONFIG names"), "{report}");
}

#[test]
fn the_environment_goes_over_the_file_and_options_over_both() {
    let file = "data_dir = 'a'\n[broker]\nprefix = 'file'\n[networks.my-net]\nurl = 'irc://h'\nnick = 'file'";
    let variables = [
        ("PUBBOT_DATA_DIR", "b"),
        ("PUBBOT_DURABILITY", "power"),
        ("PUBBOT_BROKER_PREFIX", "variable"),
        ("PUBBOT_NETWORKS_MY_NET_NICK", "variable"),
        ("PUBBOT_NETWORKS_MY_NET_FLOOD", "auto"),
        ("PUBBOT_NETWORKS_MY_NET_CHANNELS", "#a, #b"),
        ("PUBBOT_NETWORKS_OTHER_URL", "ircs://other"),
        ("PUBBOT_NETWORKS_OTHER_CHANNELS", "[{ name = '#k', key = 's' }]"),
        ("PUBBOT_NETWORKS_OTHER_FLOOD", "{ burst = 9, per_second = 2 }"),
        ("PUBBOT_ROUTES_NEWS", "my-net/#a,other/#k"),
        ("PUBBOT_WORKER_PLUGINS", "ping,help"),
        ("PUBBOT_TEST_ANYTHING", "x"),
        ("PUBBOT_LOG", "debug"),
        ("PATH", "/bin"),
    ];
    let overrides = Overrides { keys: vec![("--data-dir", &["data_dir"], "c".to_owned())], ..Overrides::default() };
    let config = load_over(file, &variables, overrides).unwrap();
    assert_eq!((config.data_dir, config.prefix.as_str()), (PathBuf::from("c"), "variable"));
    assert_eq!(config.durability, Durability::Power);
    let [mine, other] = config.networks.as_slice() else { panic!("{:?}", config.networks) };
    assert_eq!((mine.name.as_str(), mine.nick.as_str(), mine.channels.len()), ("my-net", "variable", 2));
    assert_eq!((other.name.as_str(), other.servers[0].port), ("other", 6697));
    assert_eq!(other.channels[0].key, Some(Secret::new("s")));
    assert_eq!((mine.flood, other.flood), (Flood::Learned, Flood::Budget { burst: 9, per_second: 2.0 }));
    assert_eq!(config.routes["news"].len(), 2);
    assert_eq!(config.plugins.unwrap(), ["ping", "help"]);
}

#[test]
fn what_is_wrong_in_the_environment_names_its_variable() {
    complains_of_variable("PUBBOT_BROKER_URL", "rabbit", &["broker.url", "amqp://"]);
    complains_of_variable("PUBBOT_DURABILITY", "disk", &["expected \"process\"", "or \"power\""]);
    complains_of_variable("PUBBOT_BROKERURL", "x", &["did you mean PUBBOT_BROKER_URL?", "known: PUBBOT_DATA_DIR"]);
    complains_of_variable("PUBBOT_NETWORKS_LIBERA_NIK", "x", &["did you mean PUBBOT_NETWORKS_LIBERA_NICK?"]);
    complains_of_variable("PUBBOT_NETWORKS_LIBERA_NICK", "a b", &["networks.libera.nick"]);
    complains_of_variable("PUBBOT_NETWORKS_LIBERA_CHANNELS", "[", &["no TOML"]);
    complains_of_variable("PUBBOT_NETWORKS_LIBERA_CHANNELS", "rust", &["\"#rust\""]);
    complains_of_variable("PUBBOT_NETWORKS_OTHER_NICK", "x", &["networks.other.url is missing"]);
    complains_of_variable("PUBBOT_ROUTES_", "x", &["sets nothing"]);
}

#[test]
fn a_variable_for_a_table_that_is_none_leaves_the_files_error() {
    let report = load("broker = 5", &[("PUBBOT_BROKER_URL", "embedded:")]).unwrap_err();
    assert!(report.contains(":1:10: broker: expected a table"), "{report}");
}

#[test]
fn a_secret_may_stand_in_a_file_whose_line_end_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "hunter2\r\n").unwrap();
    let text =
        format!("[networks.a]\nurl='irc://h'\npassword_file={path:?}\nchannels=[{{name='#c',key_file={path:?}}}]");
    let network = load(&text, &[]).unwrap().networks.remove(0);
    assert_eq!(network.password, Some(Secret::new("hunter2")));
    assert_eq!(network.channels[0].key, Some(Secret::new("hunter2")));

    std::fs::write(&path, "hunter2\nhunter3\n").unwrap();
    let report = load(&text, &[]).unwrap_err();
    assert!(report.contains(":3:15: networks.a.password_file: ") && !report.contains("hunter"), "{report}");
    std::fs::remove_file(&path).unwrap();
    assert!(load(&text, &[]).unwrap_err().contains("can't be read"));
    let needless = Overrides { without_secrets: true, ..Overrides::default() };
    assert!(load_over(&text, &[], needless).is_ok());
}

#[test]
fn a_password_here_and_in_a_file_is_one_too_many_unless_the_environment_decides() {
    let both = "[networks.a]\nurl='irc://h'\npassword='x'\npassword_file='/y'";
    complains(both, "4:15", &["only one"]);
    let file = "[networks.a]\nurl='irc://h'\npassword_file='/nowhere'";
    let config = load(file, &[("PUBBOT_NETWORKS_A_PASSWORD", "x")]).unwrap();
    assert_eq!(config.networks[0].password, Some(Secret::new("x")));
}

#[test]
fn no_secret_is_ever_shown() {
    let text = "[broker]\nurl='amqp://me:hunter2@h'\n[networks.a]\nurl='irc://h'\npassword='hunter2'\n\
                account='bot'\naccount_password='hunter2'\nnickserv_password='hunter2'\n\
                channels=[{name='#c',key='hunter2'}]";
    let config = load(text, &[]).unwrap();
    assert!(!format!("{config:?}{config:#?}").contains("hunter2"));
    for wrong in [
        "[broker]\nurl='amq://me:hunter2@h'",
        "[broker]\nurl='amqp://me:hunter2@h' x",
        "[networks.a]\nurl='irc://me:hunter2@h'",
        "[networks.a]\nurl='irc://h'\npassword='hunter2\\n'",
        "[networks.a]\nurl='irc://h'\npassword=\"hunter2\\n\"",
        "[networks.a]\nurl='irc://h'\npasswort='hunter2'",
        "[networks.a]\nurl='irc://h'\npassword='hunter2",
        "[networks.a]\nurl='irc://h'\nchannels=[{nmae='#c',key='hunter2'}]",
        "[networks.a]\nurl='irc://h'\nchannels=[{name='#c',key='hunter 2'}]",
        "[networks.a]\nurl='irc://h'\npassword=[\n'hunter2']",
        "[networks.a]\nurl='irc://h'\nchannels=[{ kye = 'hunter2', nmae = '#c' }]",
    ] {
        let report = load(wrong, &[]).map(|config| format!("{config:?}")).unwrap_or_else(|report| report);
        assert!(!report.contains("hunter"), "{report}");
    }
}

#[test]
fn networks_of_the_command_line_join_those_of_the_file() {
    let text = "[networks.libera]\nurl='ircs://irc.libera.chat'\nchannels=['#a']\n[routes]\nx=['oftc/#c']";
    let urls = ["ircs://irc.libera.chat/#a,#b", "ircs://irc.oftc.net/#c", "irc://testnet.libera.chat/#d"];
    let networks = urls.iter().map(|url| url.parse().unwrap()).collect();
    let overrides = Overrides { networks, nick: Some("robot".to_owned()), ..Overrides::default() };
    let config = load_over(text, &[], overrides).unwrap();
    let names: Vec<&str> = config.networks.iter().map(|network| network.name.as_str()).collect();
    assert_eq!(names, ["libera", "oftc", "libera2"]);
    let channels: Vec<&str> = config.networks[0].channels.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(channels, ["#a", "#b"]);
    assert!(config.networks.iter().all(|network| network.nick == "robot"));
}

/// The network of a file with these lines.
fn network_with(lines: &str) -> Result<connector::irc::Network, String> {
    load(&format!("[networks.n]\nurl = 'irc://h'\n{lines}"), &[]).map(|mut config| config.networks.remove(0))
}

#[test]
fn an_account_is_logged_in_to_by_sasl_unless_the_configuration_says_otherwise() {
    let login = |lines: &str| network_with(lines).unwrap().login;
    let none = login("");
    assert_eq!((none.sasl, none.account, none.password), (Sasl::Off, None, None));
    let account = "account = 'bot'\naccount_password = 'x y'";
    let required = login(account);
    assert_eq!((required.sasl, required.account.as_deref()), (Sasl::Required, Some("bot")));
    assert_eq!((required.password, required.mechanisms.len()), (Some(Secret::new("x y")), 3));
    assert!(!required.has_client_certificate);
    for (word, sasl) in [("required", Sasl::Required), ("preferred", Sasl::Preferred), ("off", Sasl::Off)] {
        assert_eq!(login(&format!("{account}\nsasl = '{word}'")).sasl, sasl);
    }
    let scram = login(&format!("{account}\nsasl_mechanisms = ['SCRAM-SHA-256']"));
    assert_eq!(scram.mechanisms, [Mechanism::ScramSha256]);
    let nickserv = login("account = 'bot'\nnickserv_password = 'x'");
    assert_eq!((nickserv.sasl, nickserv.nickserv_password), (Sasl::Off, Some(Secret::new("x"))));
    let variables = [
        ("PUBBOT_NETWORKS_N_ACCOUNT", "bot"),
        ("PUBBOT_NETWORKS_N_ACCOUNT_PASSWORD", "x"),
        ("PUBBOT_NETWORKS_N_SASL_MECHANISMS", "PLAIN,EXTERNAL"),
    ];
    let file = "[networks.n]\nurl = 'irc://h'\naccount_password_file = '/nowhere'";
    let login = load(file, &variables).unwrap().networks.remove(0).login;
    assert_eq!((login.sasl, login.mechanisms.len()), (Sasl::Required, 2));
}

#[test]
fn a_login_that_can_not_work_is_told() {
    let network = |lines: &str| format!("[networks.n]\nurl = 'irc://h'\n{lines}");
    for (lines, place, told) in [
        ("account = 'bot'", "3:1", "networks.n.account_password is missing"),
        ("account_password = 'hunter2'", "3:1", "networks.n.account is missing"),
        ("account_password_file = '/nowhere'", "3:1", "networks.n.account is missing"),
        ("account = 'a b'\nnickserv_password = 'x'", "3:11", "networks.n.account: it is one word"),
        ("nickserv_password = 'hunter 2'", "3:21", "networks.n.nickserv_password: it is one word"),
        ("sasl = 'required'", "3:1", "networks.n.sasl: there is nothing to log in with"),
        ("sasl = 'always'", "3:8", "\"always\" is not known; expected \"required\", \"preferred\" or \"off\""),
        ("sasl = true", "3:8", "networks.n.sasl: expected text in quotes"),
        ("sasl_mechanisms = []", "3:19", "expected at least one of \"EXTERNAL\", \"SCRAM-SHA-256\", \"PLAIN\""),
        ("sasl_mechanisms = ['PLAIN', 'plain']", "3:29", "\"plain\" is not known; expected one of"),
        ("sasl_mechanisms = [1]", "3:20", "a mechanism's name in quotes, found a number"),
        ("modes = 'B'", "3:9", "\"B\" are no modes: write \"+i\""),
        ("modes = '+i x'", "3:9", "are no modes"),
        ("modes = '+'", "3:9", "are no modes"),
    ] {
        complains(&network(lines), place, &[told]);
        assert!(!load(&network(lines), &[]).unwrap_err().contains("hunter"), "{lines}");
    }
    let external = "account = 'bot'\naccount_password = 'x'\nsasl = 'required'\nsasl_mechanisms = ['EXTERNAL']";
    complains(&network(external), "5:1", &["nothing to log in with"]);
    assert_eq!(network_with("modes = '+iB-w'").unwrap().modes.as_deref(), Some("+iB-w"));
}

#[test]
fn how_long_replies_may_wait_and_how_many_lines_may_be_unproved_is_checked() {
    let network = |lines: &str| load(&format!("[networks.n]\nurl = 'irc://h'\n{lines}"), &[]);
    let config = network("answers_expire = '90s'\nnotices_expire = '1h 30m'\nunproved = 1").unwrap();
    let network_of = &config.networks[0];
    assert_eq!((network_of.expiry.answers.as_secs(), network_of.expiry.notices.as_secs()), (90, 5400));
    assert_eq!(network_of.unproved, 1);
    for (wrong, told) in [
        ("answers_expire = 'soon'", "networks.n.answers_expire: \"soon\" is no length of time"),
        ("notices_expire = '0s'", "networks.n.notices_expire: \"0s\" is no length of time"),
        ("unproved = 0", "networks.n.unproved: expected a whole number of lines from 1 to 100"),
        ("unproved = 'many'", "networks.n.unproved: expected a whole number of lines from 1 to 100"),
    ] {
        let report = network(wrong).unwrap_err();
        assert!(report.contains(told), "{report}");
    }
}

/// The SHA-256 of "abc" (FIPS 180-4).
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn a_network_has_one_server_or_a_list_of_them() {
    let servers = |url: &str| load(&format!("[networks.a]\nurl = {url}"), &[]).unwrap().networks.remove(0).servers;
    let (a, b) = (Server::encrypted("a", 6697), Server::plain("2001:db8::1", 7000));
    assert_eq!(servers("'ircs://a'"), std::slice::from_ref(&a));
    assert_eq!(servers("['ircs://a', 'irc://[2001:db8::1]:7000']"), [a.clone(), b.clone()]);
    for written in ["ircs://a, irc://[2001:db8::1]:7000", "['ircs://a', 'irc://[2001:db8::1]:7000']"] {
        let config = load("[networks.a]\nurl = 'irc://h'", &[("PUBBOT_NETWORKS_A_URL", written)]).unwrap();
        assert_eq!(config.networks[0].servers, [a.clone(), b.clone()]);
    }
    let text = "[networks.a]\nurl = ['ircs://x', 'ircs://h']";
    let overrides = Overrides { networks: vec!["ircs://h/#c".parse().unwrap()], ..Overrides::default() };
    let config = load_over(text, &[], overrides).unwrap();
    assert_eq!((config.networks.len(), config.networks[0].channels.len()), (1, 1));

    complains("[networks.a]\nurl = ['ircs://a', 'h']", "2:20", &["networks.a.url: an IRC address begins with"]);
    complains("[networks.a]\nurl = ['ircs://a', 5]", "2:20", &["networks.a.url: expected text in quotes"]);
    complains("[networks.a]\nurl = []", "2:7", &["networks.a.url: expected 1 to 16, found 0"]);
    complains("[networks.a]\nurl = 5", "2:7", &["expected text in quotes, or a list of texts, found a number"]);
    complains(&format!("[networks.a]\nurl = [{}]", "'irc://a',".repeat(17)), "2:7", &["expected 1 to 16, found 17"]);
    complains_of_variable("PUBBOT_NETWORKS_LIBERA_URL", "irc://a,b", &["networks.libera.url", "ircs://"]);
}

#[test]
fn a_server_is_pinned_by_one_fingerprint_or_several() {
    let trust = |lines: &str| {
        load(&format!("[networks.a]\nurl='ircs://h'\n{lines}"), &[]).map(|config| config.networks[0].tls.trust.clone())
    };
    let (abc, empty) = (Fingerprint::of(b"abc"), Fingerprint::of(b""));
    assert_eq!(trust(""), Ok(Trust::System));
    assert_eq!(trust(&format!("fingerprint = '{ABC}'")), Ok(Trust::Pinned(vec![abc])));
    assert_eq!(trust(&format!("fingerprint = ['{ABC}', '{empty}']")), Ok(Trust::Pinned(vec![abc, empty])));

    let place = "[networks.a]\nurl='ircs://h'\nfingerprint = ";
    complains(&format!("{place}'{}'", &ABC[1..]), "3:15", &["networks.a.fingerprint: expected a SHA-256, 64 hex"]);
    complains(&format!("{place}'{}'", &ABC[..40]), "3:15", &["found 40, as in a SHA-1"]);
    complains(&format!("{place}['{ABC}', 'x']"), "3:84", &["networks.a.fingerprint: expected a SHA-256"]);
    complains(&format!("{place}'{ABC}'\nca_file = '/x'"), "3:15", &["fingerprint and ca_file: only one of them"]);
    let both = load(&format!("{place}'{ABC}'"), &[("PUBBOT_NETWORKS_A_CA_FILE", "/nowhere/ca.pem")]).unwrap_err();
    assert!(
        both.contains("environment variable PUBBOT_NETWORKS_A_CA_FILE") && both.contains("can't be read"),
        "{both}"
    );
}

#[test]
fn files_of_certificates_are_read_at_the_start_and_told_with_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let [one, other] = [(); 2].map(|()| rcgen::generate_simple_self_signed(["pubbot".to_owned()]).unwrap());
    std::fs::write(path("cert.pem"), one.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), one.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("both.pem"), one.cert.pem() + &one.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("other.pem"), other.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("none.pem"), "hello").unwrap();
    let text = |lines: &[(&str, &str)]| {
        let lines: Vec<String> = lines.iter().map(|(key, name)| format!("{key} = {:?}", path(name))).collect();
        format!("[networks.a]\nurl = 'ircs://h'\n{}", lines.join("\n"))
    };
    let tls = |lines: &[(&str, &str)]| load(&text(lines), &[]).unwrap().networks.remove(0).tls;

    assert_eq!(tls(&[("ca_file", "cert.pem")]).trust, Trust::File(path("cert.pem")));
    let own = |file: &str, key: &str| Some(ClientCertificate { file: path(file), key_file: path(key) });
    let apart = [("client_cert_file", "cert.pem"), ("client_key_file", "key.pem")];
    assert_eq!(tls(&apart).certificate, own("cert.pem", "key.pem"));
    assert_eq!(tls(&[("client_cert_file", "both.pem")]).certificate, own("both.pem", "both.pem"));

    let complains = |lines: &[(&str, &str)], place: &str, expected: &[&str]| complains(&text(lines), place, expected);
    complains(
        &[("ca_file", "nowhere.pem")],
        "3:11",
        &["networks.a.ca_file: ", "nowhere.pem can't be read: No such file"],
    );
    complains(&[("ca_file", "none.pem")], "3:11", &["none.pem holds no certificate in PEM"]);
    complains(&[("client_cert_file", "cert.pem")], "3:20", &["cert.pem holds no private key in PEM"]);
    complains(&[("client_key_file", "key.pem")], "3:19", &["name it as client_cert_file"]);
    let of_another = [("client_cert_file", "cert.pem"), ("client_key_file", "other.pem")];
    complains(&of_another, "4:19", &["networks.a.client_key_file: ", "other.pem holds a key that is not that of "]);
    let without = [("client_cert_file", "nowhere.pem"), ("client_key_file", "key.pem")];
    complains(&without, "3:20", &["networks.a.client_cert_file: ", "can't be read"]);

    // who only says something to the broker needs none of them
    let needless = Overrides { without_secrets: true, ..Overrides::default() };
    assert!(
        load_over(&text(&[("ca_file", "nowhere.pem"), ("client_cert_file", "nowhere.pem")]), &[], needless).is_ok()
    );
}
