//! Whether a job was run with the settings that its file has today.
//!
//! A row names a command, and whoever types it gets what the job file says now. So a job that was
//! run with other settings is no result of that command.

use toml::{Table, Value};

/// Keys that may differ: paths are made absolute, a preset becomes layers, and so on.
const REWRITTEN: [&str; 6] =
    ["name", "network", "data.inputs", "data.labels", "data.test_inputs", "data.test_labels"];
/// Job settings that the command line may override.
const OVERRIDES: [(&str, &str); 2] = [("seed", "--seed"), ("variational.prior", "--prior")];
/// Settings are 32-bit floats, whose decimal form may differ in the eighth digit.
const TOLERANCE: f64 = 1e-6;

/// The first setting of `shipped`, a job file, that `resolved`, the job with every default stated,
/// doesn't have: its key and both values.
pub(super) fn difference(shipped: &Table, resolved: &Table, command: &str) -> Option<String> {
    let overridden = |key: &str| {
        OVERRIDES.iter().any(|(setting, option)| *setting == key && command.contains(option))
    };
    let skip = |key: &str| REWRITTEN.contains(&key) || overridden(key);
    differs("", shipped, resolved, &skip)
}

fn differs(
    above: &str,
    shipped: &Table,
    resolved: &Table,
    skip: &dyn Fn(&str) -> bool,
) -> Option<String> {
    shipped.iter().find_map(|(key, wanted)| {
        let key_path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        match (wanted, resolved.get(key)) {
            _ if skip(&key_path) => None,
            (Value::Table(wanted), Some(Value::Table(found))) => {
                differs(&key_path, wanted, found, skip)
            }
            (wanted, Some(found)) if is_same(wanted, found) => None,
            (wanted, Some(found)) => Some(format!("{key_path} is now {wanted}, and was {found}")),
            (wanted, None) => Some(format!("{key_path} is now {wanted}, and wasn't there")),
        }
    })
}

fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()),
            _ => a == b,
        },
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|n| n as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = "seed = 1\n[data]\nkind = \"idx\"\ninputs = \"../x\"\n[network]\n\
        preset = \"p\"\n[variational]\nprior = \"horseshoe\"\ntemperature = [[0, 1.5]]\n";
    const RESOLVED: &str = "seed = 1\n[data]\nkind = \"idx\"\ninputs = \"/y/x\"\n[network]\n\
        output = \"logits\"\n[variational]\nprior = \"horseshoe\"\ntemperature = [[0.0, 1.5000001]]\n";

    fn compare(shipped: &str, resolved: &str, command: &str) -> Option<String> {
        difference(&shipped.parse().unwrap(), &resolved.parse().unwrap(), command)
    }

    #[test]
    fn what_is_rewritten_is_no_difference() {
        assert_eq!(compare(SHIPPED, RESOLVED, "bitsback compress x"), None);
    }

    #[test]
    fn a_changed_setting_is_named() {
        let changed = RESOLVED.replace("1.5000001", "1.6");
        let found = compare(SHIPPED, &changed, "bitsback compress x").unwrap();
        assert!(found.starts_with("variational.temperature is now"), "{found}");
        let gone = RESOLVED.replace("kind", "sort");
        assert!(compare(SHIPPED, &gone, "").unwrap().contains("wasn't there"));
    }

    #[test]
    fn overrides_of_the_command_are_no_difference() {
        let other = RESOLVED.replace("horseshoe", "normal-jeffreys");
        assert!(compare(SHIPPED, &other, "bitsback compress x").is_some());
        assert_eq!(compare(SHIPPED, &other, "bitsback compress x --prior normal-jeffreys"), None);
        let other = RESOLVED.replace("seed = 1", "seed = 2");
        assert!(compare(SHIPPED, &other, "bitsback compress x").is_some());
        assert_eq!(compare(SHIPPED, &other, "bitsback compress x --seed 2"), None);
    }
}
