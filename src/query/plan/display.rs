//! A plan as text: one line a node, indented by two spaces a level.

use super::{Access, Branch, LayerPlan, ListAt, Ordinals, Plan, Probe, ProbeTest, Values};
use crate::query::Order;
use crate::query::predicate::{Octets, Predicate, Test};
use crate::schema::Schema;
use std::fmt;
use std::sync::Arc;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wanted == Predicate::False {
            return writeln!(f, "nothing: the filter is true of no entry");
        }
        let several = self.next > 1;
        for layer in &self.layers {
            if several {
                writeln!(
                    f,
                    "segment {}, {} entries in scope",
                    layer.number,
                    Count(layer.ids.len())
                )?;
            }
            LayerText { plan: self, layer }.write(f, usize::from(several))?;
        }
        let passed_over = self.next - self.layers.len();
        if passed_over > 0 {
            writeln!(
                f,
                "passed over: {} segments without such a value",
                Count(passed_over as u64)
            )?;
        }
        if self.tail_entries > 0 {
            writeln!(
                f,
                "newest changes: {} entries, evaluated",
                Count(u64::from(self.tail_entries))
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

struct LayerText<'a> {
    plan: &'a Plan,
    layer: &'a LayerPlan,
}

impl LayerText<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        let (layer, schema) = (self.layer, &*self.plan.schema);
        if layer.ids.is_empty() {
            return line(f, indent, format_args!("nothing in scope"));
        }
        if let Access::Nothing = layer.branch.access {
            return line(f, indent, format_args!("no candidates, the index has none"));
        }
        if let Access::Entries = layer.branch.access {
            let why = match (layer.residual.is_nothing(), layer.by_choice, layer.is_scan()) {
                (true, ..) => "",
                (_, true, _) => " (cheaper than the index)",
                (_, _, true) => " (no index serves the filter)",
                _ => " (no index serves the filter, the scope is small)",
            };
            let verb = if why.is_empty() {
                "every entry in scope:"
            } else {
                "scan"
            };
            line(
                f,
                indent,
                format_args!("{verb} {} entries{why}", Count(layer.ids.len())),
            )?;
        } else {
            write_access(f, indent, &layer.branch, schema)?;
        }
        write_probes(f, indent + 1, &layer.branch.probes, schema)?;
        for left in layer.residual.of(&self.plan.wanted) {
            let terms = match left {
                Predicate::And(terms) => terms.as_slice(),
                term => std::slice::from_ref(term),
            };
            for term in terms {
                line(f, indent + 1, format_args!("residual {}", term.display(schema)))?;
            }
        }
        if layer.gather {
            line(f, indent + 1, format_args!("gathered, then given by name"))?;
        }
        debug_assert!(!layer.gather || self.plan.order == Order::Name);
        Ok(())
    }
}

fn write_access(f: &mut fmt::Formatter<'_>, indent: usize, branch: &Branch, schema: &Schema) -> fmt::Result {
    match &branch.access {
        Access::Nothing => line(f, indent, format_args!("nothing, no candidates")),
        Access::Entries => line(
            f,
            indent,
            format_args!("every entry in scope: {} entries", Count(branch.estimate)),
        ),
        Access::One(_) => line(f, indent, format_args!("entry by name, 1 candidate")),
        Access::Range(range) => line(
            f,
            indent,
            format_args!("a subtree, {} candidates", Count(range.len() as u64)),
        ),
        Access::Some(ids) => line(
            f,
            indent,
            format_args!("entries by name, {} candidates", Count(ids.len() as u64)),
        ),
        Access::Lists(lists) => line(f, indent, format_args!("{}", ListsText { lists, branch, schema })),
        Access::Values(values) => line(f, indent, format_args!("{}", ValuesText { values, branch, schema })),
        Access::Union(branches) => {
            line(f, indent, format_args!("union, ~{} candidates", Count(branch.estimate)))?;
            for branch in branches {
                write_access(f, indent + 1, branch, schema)?;
                write_probes(f, indent + 2, &branch.probes, schema)?;
            }
            Ok(())
        }
    }
}

fn write_probes(f: &mut fmt::Formatter<'_>, indent: usize, probes: &[Probe], schema: &Schema) -> fmt::Result {
    for probe in probes {
        let sign = if probe.negated { "probe not " } else { "probe " };
        match &probe.test {
            ProbeTest::Lists(lists) => line(f, indent, format_args!("{sign}{}", Names { lists, schema }))?,
            ProbeTest::Column { item, ordinals, .. } => {
                let (item, count) = (item.display(schema), Count(ordinals.len() as u64));
                let values = if ordinals.len() == 1 { "value" } else { "values" };
                line(f, indent, format_args!("{sign}{item}: column, {count} {values}"))?;
            }
        }
    }
    Ok(())
}

struct ListsText<'a> {
    lists: &'a [ListAt],
    branch: &'a Branch,
    schema: &'a Schema,
}

impl fmt::Display for ListsText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lists, schema) = (self.lists, self.schema);
        let estimate = Count(self.branch.estimate);
        write!(f, "{}, ~{estimate} candidates", Names { lists, schema })
    }
}

/// Items named in one line.
const NAMED: usize = 5;

/// Lists by what they were looked up for.
struct Names<'a> {
    lists: &'a [ListAt],
    schema: &'a Schema,
}

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alike = |left: &ListAt, right: &ListAt| Arc::ptr_eq(&left.item, &right.item);
        let groups = self.lists.chunk_by(alike).count();
        for (at, lists) in self.lists.chunk_by(alike).take(NAMED).enumerate() {
            let joint = if at == 0 { "" } else { "; " };
            let item = lists[0].item.display(self.schema);
            let kind = match (&lists[0].item.test, lists[0].presence, lists.len()) {
                (Test::Equality { .. } | Test::Class { .. }, false, 1) => "equality",
                (Test::Present, ..) => "presence",
                (_, true, _) => "any value for",
                _ => "few values of",
            };
            write!(f, "{joint}{kind} {item}: ")?;
            match (lists[0].presence, lists.len()) {
                (true, 1) => f.write_str("presence list")?,
                (true, count) => write!(f, "{} presence lists", Count(count as u64))?,
                (false, 1) => f.write_str("posting list")?,
                (false, count) => write!(f, "{} posting lists", Count(count as u64))?,
            }
        }
        match groups.saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, "; and {} more", Count(more as u64)),
        }
    }
}

struct ValuesText<'a> {
    values: &'a Values,
    branch: &'a Branch,
    schema: &'a Schema,
}

impl fmt::Display for ValuesText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Values {
            attribute,
            item,
            ordinals,
            verify,
        } = self.values;
        let name = self.schema.attribute(*attribute).name();
        let kind = match &item.test {
            Test::Substrings { any, last, .. } if any.is_empty() && last.is_none() => "prefix",
            Test::Substrings { .. } => "substrings",
            Test::Approximate { .. } => "approximate",
            Test::Word { .. } => "word",
            Test::Bits { .. } => "bits",
            _ => "ordering",
        };
        write!(f, "{kind} {}: ", item.display(self.schema))?;
        match ordinals {
            Ordinals::Range(range) => write!(f, "{} values of {name} in a range", Count(range.len() as u64))?,
            Ordinals::Grams { piece, estimate, .. } => {
                write!(
                    f,
                    "at most {} values of {name} by n-grams of \"{}\"",
                    Count(*estimate),
                    Octets(piece)
                )?;
            }
        }
        if *verify {
            f.write_str(", each verified")?;
        }
        write!(f, ", ~{} candidates", Count(self.branch.estimate))
    }
}

fn line(f: &mut fmt::Formatter<'_>, indent: usize, text: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(f, "{:1$}{text}", "", indent * 2)
}

/// A number with its thousands apart.
struct Count(u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.char_indices() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}
