//! Tables for people, JSON for programs: the same rows.

use serde_json::{Map, Value};

/// Rows under named columns. A cell is any JSON value; people see text as it is and nothing for null.
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    pub fn new(columns: &[&'static str]) -> Table {
        Table {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row with a cell for each column.
    pub fn row(&mut self, cells: Vec<Value>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// Prints to standard output: an array of objects with `json`, else aligned columns.
    pub fn print(&self, json: bool) {
        print!("{}", if json { self.json() } else { self.text() });
    }

    fn json(&self) -> String {
        let objects = self.rows.iter().map(|row| {
            let cells = self.columns.iter().zip(row);
            Value::Object(
                cells
                    .map(|(name, cell)| ((*name).to_owned(), cell.clone()))
                    .collect::<Map<_, _>>(),
            )
        });
        format!("{:#}\n", Value::Array(objects.collect()))
    }

    fn text(&self) -> String {
        let heads = self
            .columns
            .iter()
            .map(|name| name.replace('_', " ").to_uppercase())
            .collect();
        let lines: Vec<Vec<String>> = std::iter::once(heads)
            .chain(self.rows.iter().map(|row| row.iter().map(plain).collect()))
            .collect();
        let width = |column: usize| {
            lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(|cell| cell.chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| width(column).unwrap_or(0))
            .collect();
        let mut out = String::new();
        for line in &lines {
            let cells: Vec<String> = line
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            out.push_str(cells.join("  ").trim_end());
            out.push('\n');
        }
        out
    }
}

fn plain(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_programs_see_the_same_rows() {
        let mut table = Table::new(&["name", "last_used"]);
        table.row(vec!["Zoë".into(), Value::Null]);
        table.row(vec!["a-longer-name".into(), 5.into()]);
        assert_eq!(table.text(), "NAME           LAST USED\nZoë\na-longer-name  5\n");
        let parsed: Value = serde_json::from_str(&table.json()).unwrap();
        assert_eq!(parsed[1], serde_json::json!({"name": "a-longer-name", "last_used": 5}));
    }
}
