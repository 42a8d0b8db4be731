//! The table: one row per metric, as Markdown and as JSON.

use serde_json::{Value, json};

/// One metric.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// As PERFORMANCE names it.
    pub(crate) metric: String,
    /// The bare server in the same run.
    pub(crate) bare: String,
    /// The node.
    pub(crate) ours: String,
    /// The figure that is held against gate and goal.
    pub(crate) figure: f64,
    /// How the figure is shown.
    pub(crate) shown: String,
    /// What must be reached first; 0: nothing.
    pub(crate) gate: f64,
    /// What is aimed at; 0: nothing.
    pub(crate) goal: f64,
    /// Is less better?
    pub(crate) less_is_better: bool,
    /// What else is to be known.
    pub(crate) note: String,
}

impl Row {
    /// Where the figure stands.
    fn verdict(&self) -> &'static str {
        let reaches = |bar: f64| if self.less_is_better { self.figure <= bar } else { self.figure >= bar };
        match (self.goal == 0.0 || reaches(self.goal), self.gate != 0.0 && reaches(self.gate)) {
            _ if self.goal == 0.0 && self.gate == 0.0 => "–",
            (true, _) => "goal",
            (false, true) => "gate",
            (false, false) => "**no**",
        }
    }
}

/// All rows, and what they were measured on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// Machine, disk, mode, time.
    pub(crate) heading: Vec<(String, String)>,
    /// The metrics.
    pub(crate) rows: Vec<Row>,
    /// Metrics that could not be measured, and why.
    pub(crate) failed: Vec<(String, String)>,
}

fn bar(bar: f64) -> String {
    if bar == 0.0 { "–".to_owned() } else { bar.to_string() }
}

impl Table {
    /// For people and for `bench/results/`.
    pub(crate) fn markdown(&self) -> String {
        let heading: Vec<String> = self.heading.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let mut out = format!("{}\n\n", heading.join(" · "));
        out.push_str(
            "| metric | bare warp | ours | figure | gate | goal | reached | |\n|---|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let cells = [
                row.metric.clone(),
                row.bare.clone(),
                row.ours.clone(),
                row.shown.clone(),
                bar(row.gate),
                bar(row.goal),
                row.verdict().to_owned(),
                row.note.clone(),
            ];
            out.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        for (metric, why) in &self.failed {
            out.push_str(&format!(
                "| {metric} | – | – | – | – | – | not measured | {} |\n",
                why.replace(['|', '\n'], " ")
            ));
        }
        out
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "metric": row.metric, "bare": row.bare, "ours": row.ours, "figure": row.figure, "gate": row.gate, "goal": row.goal,
                    "less_is_better": row.less_is_better, "reached": row.verdict().replace('*', ""), "note": row.note
                })
            })
            .collect();
        let heading: serde_json::Map<String, Value> =
            self.heading.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        let failed: serde_json::Map<String, Value> =
            self.failed.iter().map(|(name, why)| (name.clone(), Value::from(why.as_str()))).collect();
        json!({ "heading": heading, "rows": rows, "failed": failed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(figure: f64, less_is_better: bool) -> Row {
        let (gate, goal) = if less_is_better { (3.0, 1.3) } else { (0.4, 0.7) };
        let text = String::new;
        Row {
            metric: "m".into(),
            bare: text(),
            ours: text(),
            figure,
            shown: text(),
            gate,
            goal,
            less_is_better,
            note: text(),
        }
    }

    #[test]
    fn a_figure_reaches_the_goal_the_gate_or_neither() {
        assert_eq!([0.8, 0.5, 0.1].map(|figure| row(figure, false).verdict()), ["goal", "gate", "**no**"]);
        assert_eq!([1.0, 2.0, 4.0].map(|figure| row(figure, true).verdict()), ["goal", "gate", "**no**"]);
    }

    #[test]
    fn a_bar_that_is_not_there_is_neither_reached_nor_missed() {
        let lone = |gate, goal| Row { gate, goal, ..row(0.5, false) }.verdict();
        assert_eq!([lone(0.0, 0.85), lone(0.0, 0.4), lone(0.0, 0.0)], ["**no**", "goal", "–"]);
    }

    #[test]
    fn what_could_not_be_measured_stands_in_the_table_with_its_reason() {
        let table = Table { failed: vec![("x".into(), "a | b\nc".into())], ..Table::default() };
        assert!(table.markdown().contains("| x | – | – | – | – | – | not measured | a   b c |"));
        assert_eq!(table.json().pointer("/failed/x").unwrap(), "a | b\nc");
    }
}
