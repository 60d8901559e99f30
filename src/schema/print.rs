//! Definitions in their printed form (RFC 4512 section 4.1), as clients read them in the subschema.

use std::fmt::Write;

use super::definition::{
    AttributeDefinition, ClassDefinition, ContentRuleDefinition, Head, NameFormDefinition, StructureRuleDefinition,
};
use super::{ClassKind, Usage};

impl Head {
    /// `( oid NAME ... DESC ... OBSOLETE`, the part before a kind's own fields.
    fn print_start(&self) -> String {
        let mut text = format!("( {}", self.oid);
        match self.names.as_slice() {
            [] => {}
            [one] => text.push_str(&format!(" NAME '{one}'")),
            several => {
                text.push_str(" NAME (");
                for name in several {
                    let _ = write!(text, " '{name}'");
                }
                text.push_str(" )");
            }
        }
        if let Some(description) = &self.description {
            let _ = write!(text, " DESC '{}'", escape(description));
        }
        if self.obsolete {
            text.push_str(" OBSOLETE");
        }
        text
    }

    fn print_end(&self, text: &mut String) {
        for (name, values) in &self.extensions {
            match values.as_slice() {
                [one] => {
                    let _ = write!(text, " {name} '{}'", escape(one));
                }
                several => {
                    let _ = write!(text, " {name} (");
                    for value in several {
                        let _ = write!(text, " '{}'", escape(value));
                    }
                    text.push_str(" )");
                }
            }
        }
        text.push_str(" )");
    }
}

impl Head {
    /// A description of a kind that has no fields of its own (section 4.1.5).
    pub(super) fn print_syntax(&self) -> String {
        let mut text = Head {
            names: Vec::new(),
            ..self.clone()
        }
        .print_start();
        self.print_end(&mut text);
        text
    }
}

impl AttributeDefinition {
    pub(super) fn print(&self) -> String {
        let mut text = self.head.print_start();
        for (keyword, value) in [
            ("SUP", &self.superior),
            ("EQUALITY", &self.equality),
            ("ORDERING", &self.ordering),
            ("SUBSTR", &self.substrings),
        ] {
            if let Some(value) = value {
                let _ = write!(text, " {keyword} {value}");
            }
        }
        if let Some((oid, bound)) = &self.syntax {
            let _ = write!(text, " SYNTAX {oid}");
            if let Some(bound) = bound {
                let _ = write!(text, "{{{bound}}}");
            }
        }
        for (set, keyword) in [
            (self.single_value, " SINGLE-VALUE"),
            (self.collective, " COLLECTIVE"),
            (self.no_user_modification, " NO-USER-MODIFICATION"),
        ] {
            if set {
                text.push_str(keyword);
            }
        }
        if self.usage != Usage::UserApplications {
            let _ = write!(text, " USAGE {}", usage_word(self.usage));
        }
        self.head.print_end(&mut text);
        text
    }
}

impl ClassDefinition {
    pub(super) fn print(&self) -> String {
        let mut text = self.head.print_start();
        print_list(&mut text, "SUP", &self.superiors);
        text.push_str(match self.kind {
            ClassKind::Abstract => " ABSTRACT",
            ClassKind::Structural => " STRUCTURAL",
            ClassKind::Auxiliary => " AUXILIARY",
        });
        print_list(&mut text, "MUST", &self.must);
        print_list(&mut text, "MAY", &self.may);
        self.head.print_end(&mut text);
        text
    }
}

impl ContentRuleDefinition {
    pub(super) fn print(&self) -> String {
        let mut text = self.head.print_start();
        print_list(&mut text, "AUX", &self.auxiliary);
        print_list(&mut text, "MUST", &self.must);
        print_list(&mut text, "MAY", &self.may);
        print_list(&mut text, "NOT", &self.not);
        self.head.print_end(&mut text);
        text
    }
}

impl NameFormDefinition {
    pub(super) fn print(&self) -> String {
        let mut text = self.head.print_start();
        let _ = write!(text, " OC {}", self.class);
        print_list(&mut text, "MUST", &self.must);
        print_list(&mut text, "MAY", &self.may);
        self.head.print_end(&mut text);
        text
    }
}

impl StructureRuleDefinition {
    pub(super) fn print(&self) -> String {
        let mut text = self.head.print_start();
        let _ = write!(text, " FORM {}", self.form);
        match self.superiors.as_slice() {
            [] => {}
            [one] => {
                let _ = write!(text, " SUP {one}");
            }
            several => {
                let _ = write!(text, " SUP ( {} )", several.join(" "));
            }
        }
        self.head.print_end(&mut text);
        text
    }
}

fn print_list(text: &mut String, keyword: &str, list: &[String]) {
    match list {
        [] => {}
        [one] => {
            let _ = write!(text, " {keyword} {one}");
        }
        several => {
            let _ = write!(text, " {keyword} ( {} )", several.join(" $ "));
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\5C").replace('\'', "\\27")
}

pub(super) fn usage_word(usage: Usage) -> &'static str {
    match usage {
        Usage::UserApplications => "userApplications",
        Usage::DirectoryOperation => "directoryOperation",
        Usage::DistributedOperation => "distributedOperation",
        Usage::DsaOperation => "dSAOperation",
    }
}
