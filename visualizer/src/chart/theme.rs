//! The colours of a picture: those of the pages (`web/src/styles/tokens.css`), since a picture knows no stylesheet.
//!
//! Keeps: the same values as the tokens, in both themes.

use tidewatch_schemas::Severity;

/// One theme; `rrggbb` with a `#`.
#[derive(Debug, PartialEq)]
pub(crate) struct Theme {
    pub(super) surface: &'static str,
    pub(super) ink: &'static str,
    pub(super) ink_2: &'static str,
    pub(super) ink_3: &'static str,
    pub(super) on_fill: &'static str,
    pub(super) tide: &'static str,
    pub(super) critical: &'static str,
    pub(super) warning: &'static str,
    pub(super) odd: &'static str,
    pub(super) odd_soft: &'static str,
    pub(super) grid: &'static str,
    pub(super) baseline: &'static str,
    pub(super) hatch: &'static str,
    pub(super) crowd: &'static str,
    /// In the order in which they are handed out.
    pub(super) series: [&'static str; 8],
    pub(super) band_opacity: f64,
}

pub(super) const BAND_EDGE_OPACITY: f64 = 0.35;

pub(super) static LIGHT: Theme = Theme {
    surface: "#ffffff",
    ink: "#101d21",
    ink_2: "#43545a",
    ink_3: "#5a6b71",
    on_fill: "#ffffff",
    tide: "#0b6684",
    critical: "#c2261b",
    warning: "#8a5600",
    odd: "#a0249a",
    odd_soft: "#f8e8f7",
    grid: "#e6eced",
    baseline: "#84949a",
    hatch: "#9aa9ae",
    crowd: "#9aa9ae",
    series: ["#064e8a", "#a38b0b", "#907dcf", "#579881", "#946a4b", "#1b7886", "#5f3245", "#135108"],
    band_opacity: 0.14,
};

pub(super) static DARK: Theme = Theme {
    surface: "#10181c",
    ink: "#e8eff0",
    ink_2: "#a9b9be",
    ink_3: "#82959c",
    on_fill: "#0a1013",
    tide: "#5cc2de",
    critical: "#ff6f61",
    warning: "#f2b33d",
    odd: "#ee86e2",
    odd_soft: "#2e1730",
    grid: "#1c282d",
    baseline: "#5a6c74",
    hatch: "#45565e",
    crowd: "#4c5d65",
    series: ["#7cbafe", "#edd566", "#846fc5", "#77f4cb", "#c57227", "#a2e6f3", "#ac6885", "#87aa81"],
    band_opacity: 0.15,
};

impl Theme {
    /// Of a line's rank: 1 to 8, else the crowd.
    pub(super) fn line(&self, rank: usize) -> &'static str {
        rank.checked_sub(1).and_then(|i| self.series.get(i)).copied().unwrap_or(self.crowd)
    }

    /// Colour and word of an alert.
    pub(super) fn severity(&self, severity: Severity) -> (&'static str, &'static str) {
        match severity {
            Severity::Critical => (self.critical, "Critical"),
            Severity::Warning => (self.warning, "Warning"),
            Severity::Info => (self.odd, "Odd"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colours_are_those_of_the_pages() {
        let tokens = include_str!("../../web/src/styles/tokens.css");
        let token = |name: &str| {
            let line =
                tokens.lines().find(|line| line.trim().starts_with(&format!("--{name}:"))).expect(name);
            let both = line.split(['(', ')']).nth(1).expect("light-dark");
            both.split(", ").map(|colour| colour[..7].to_owned()).collect::<Vec<_>>()
        };
        let mut named = vec![
            ("surface", LIGHT.surface, DARK.surface),
            ("ink", LIGHT.ink, DARK.ink),
            ("ink-2", LIGHT.ink_2, DARK.ink_2),
            ("ink-3", LIGHT.ink_3, DARK.ink_3),
            ("on-fill", LIGHT.on_fill, DARK.on_fill),
            ("tide", LIGHT.tide, DARK.tide),
            ("band", LIGHT.tide, DARK.tide),
            ("critical", LIGHT.critical, DARK.critical),
            ("warning", LIGHT.warning, DARK.warning),
            ("odd", LIGHT.odd, DARK.odd),
            ("odd-soft", LIGHT.odd_soft, DARK.odd_soft),
            ("grid", LIGHT.grid, DARK.grid),
            ("baseline", LIGHT.baseline, DARK.baseline),
            ("hatch", LIGHT.hatch, DARK.hatch),
            ("crowd", LIGHT.crowd, DARK.crowd),
        ];
        let series = ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"];
        named.extend(series.into_iter().enumerate().map(|(i, name)| (name, LIGHT.series[i], DARK.series[i])));
        for (name, light, dark) in named {
            assert_eq!(token(name), [light, dark], "{name}");
        }
    }
}
