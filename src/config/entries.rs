//! Settings of what holds for entries: between them, of those that bind, and of their secrets.

use crate::directory::{GeneralOptions, GeneralRule, IntegrityOptions, PasswordPolicyOptions, UniqueOptions};
use serde::{Deserialize, Serialize};

/// What holds between entries; see [`IntegrityOptions`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntegritySettings {
    pub references: Vec<String>,
    pub placeholder: String,
    pub referring_entries: usize,
    pub unique: Vec<UniqueSettings>,
}

/// See [`UniqueOptions`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UniqueSettings {
    pub attribute: String,
    pub base: String,
}

/// A general directory, where one is wanted; see [`GeneralOptions`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeneralSettings {
    pub enabled: bool,
    pub profile: String,
    pub rules: Vec<RuleSettings>,
    pub manager: String,
    pub secret_characters: usize,
    pub secrets: usize,
    pub old_secret_needed: bool,
}

/// See [`GeneralRule`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleSettings {
    pub entry: String,
    pub base: String,
    pub group: String,
    pub role: String,
    pub profile: String,
}

/// Password policies; see [`PasswordPolicyOptions`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PasswordPolicySettings {
    pub enabled: bool,
    pub default: String,
    pub history: usize,
}

impl Default for IntegritySettings {
    fn default() -> Self {
        let options = IntegrityOptions::default();
        Self {
            references: options.references,
            placeholder: options.placeholder.unwrap_or_default(),
            referring_entries: options.referring_entries,
            unique: Vec::new(),
        }
    }
}

impl IntegritySettings {
    pub fn options(&self) -> IntegrityOptions {
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let unique = |rule: &UniqueSettings| UniqueOptions {
            attribute: rule.attribute.clone(),
            base: given(&rule.base),
        };
        IntegrityOptions {
            references: self.references.clone(),
            placeholder: given(&self.placeholder),
            referring_entries: self.referring_entries,
            unique: self.unique.iter().map(unique).collect(),
        }
    }
}

impl Default for GeneralSettings {
    fn default() -> Self {
        let options = GeneralOptions::default();
        Self {
            enabled: options.enabled,
            profile: options.profile,
            rules: Vec::new(),
            manager: options.manager,
            secret_characters: options.secret_characters,
            secrets: options.secrets,
            old_secret_needed: options.old_secret_needed,
        }
    }
}

impl GeneralSettings {
    pub fn options(&self) -> GeneralOptions {
        let rule = |rule: &RuleSettings| GeneralRule {
            entry: rule.entry.clone(),
            base: rule.base.clone(),
            group: rule.group.clone(),
            role: rule.role.clone(),
            profile: rule.profile.clone(),
        };
        GeneralOptions {
            enabled: self.enabled,
            profile: self.profile.clone(),
            rules: self.rules.iter().map(rule).collect(),
            manager: self.manager.clone(),
            secret_characters: self.secret_characters,
            secrets: self.secrets,
            old_secret_needed: self.old_secret_needed,
        }
    }
}

impl Default for PasswordPolicySettings {
    fn default() -> Self {
        let options = PasswordPolicyOptions::default();
        Self {
            enabled: options.enabled,
            default: options.default,
            history: options.history,
        }
    }
}

impl PasswordPolicySettings {
    pub fn options(&self) -> PasswordPolicyOptions {
        PasswordPolicyOptions {
            enabled: self.enabled,
            default: self.default.clone(),
            history: self.history,
        }
    }
}
