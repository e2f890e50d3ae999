//! The part of PromQL that rules have words for: numbers, selectors, calls, arithmetic and comparisons. In: an expression.
//! Out: its tree, or what in it has no equivalent, for the person who wants it imported.

use super::token::{Token, tokens};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    Number(f64),
    Select(Select),
    /// A selector over a time in milliseconds.
    Range(Select, i64),
    Call(String, Vec<Expr>),
    Minus(Box<Expr>),
    /// Arithmetic, and comparisons.
    Binary(&'static str, Box<Expr>, Box<Expr>),
}

/// Which series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Select {
    pub(super) metric: Option<String>,
    /// Label, operator, value.
    pub(super) matchers: Vec<(String, &'static str, String)>,
}

const AGGREGATIONS: [&str; 14] = [
    "sum",
    "avg",
    "min",
    "max",
    "count",
    "group",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "count_values",
    "quantile",
    "limitk",
    "limit_ratio",
];
/// They are no names of series, and what is in brackets behind them is no call.
const KEYWORDS: [&str; 9] =
    ["and", "or", "unless", "bool", "offset", "on", "ignoring", "group_left", "group_right"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];
/// A tree that is deeper was not written by a person.
const DEEPEST: usize = 64;

pub(super) fn parse(text: &str) -> Result<Expr, String> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0 };
    let expr = parser.comparison()?;
    match parser.peek() {
        None => Ok(expr),
        Some(token) => Err(beyond(token)),
    }
}

/// Why an expression can't go on like this.
fn beyond(token: &Token) -> String {
    match token {
        Token::Name(name) => match name.to_ascii_lowercase().as_str() {
            word @ ("and" | "or" | "unless") => format!("`{word}` joins conditions: a rule has one"),
            word @ ("by" | "without") => {
                format!("`{word}` puts several series together: a rule looks at one")
            }
            word @ ("on" | "ignoring" | "group_left" | "group_right") => {
                format!(
                    "`{word}` pairs series by some of their labels: `divided_by` wants all to be the same"
                )
            }
            "offset" => "`offset` looks back: `change_over` compares with what was".to_owned(),
            "bool" => "`bool` makes a number of a comparison".to_owned(),
            other => format!("`{other}` can't stand there"),
        },
        Token::Sign(sign) => format!("`{sign}` can't stand there"),
        Token::Number(number) => format!("`{number}` can't stand there"),
        Token::Duration(_) => "a duration can't stand there".to_owned(),
        Token::Text(text) => format!("`{text:?}` can't stand there"),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    /// Takes one of the signs, if it comes next.
    fn take(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        let Some(Token::Sign(sign)) = self.peek() else { return None };
        let sign = *sign;
        signs.contains(&sign).then(|| {
            self.next += 1;
            sign
        })
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), String> {
        match self.take(&[sign]) {
            Some(_) => Ok(()),
            None => Err(self.peek().map_or_else(|| format!("`{sign}` is missing"), beyond)),
        }
    }

    fn comparison(&mut self) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("too many levels".to_owned());
        }
        let mut left = self.sum()?;
        while let Some(sign) = self.take(&COMPARISONS) {
            let right = self.sum()?;
            left = Expr::Binary(sign, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn sum(&mut self) -> Result<Expr, String> {
        let mut left = self.product()?;
        while let Some(sign) = self.take(&["+", "-"]) {
            left = Expr::Binary(sign, Box::new(left), Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Expr, String> {
        let mut left = self.signed()?;
        while let Some(sign) = self.take(&["*", "/", "%"]) {
            left = Expr::Binary(sign, Box::new(left), Box::new(self.signed()?));
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Expr, String> {
        let mut is_negative = false;
        while let Some(sign) = self.take(&["+", "-"]) {
            is_negative ^= sign == "-";
        }
        let atom = self.atom()?;
        if self.take(&["^"]).is_some() {
            return Err("`^` is no arithmetic that a limit can take over".to_owned());
        }
        Ok(if is_negative { Expr::Minus(Box::new(atom)) } else { atom })
    }

    fn atom(&mut self) -> Result<Expr, String> {
        let Some(token) = self.peek().cloned() else {
            return Err("something is missing at its end".to_owned());
        };
        match token {
            Token::Number(number) => {
                self.next += 1;
                Ok(Expr::Number(number))
            }
            Token::Sign("(") => {
                self.next += 1;
                let inner = self.comparison()?;
                self.expect(")")?;
                if self.peek() == Some(&Token::Sign("[")) {
                    return Err(
                        "a subquery computes at many times: a rule looks at each window once".to_owned()
                    );
                }
                Ok(inner)
            }
            Token::Sign("{") => self.select(None),
            Token::Name(name) => self.named(name),
            other => Err(beyond(&other)),
        }
    }

    fn named(&mut self, name: String) -> Result<Expr, String> {
        if AGGREGATIONS.contains(&name.as_str()) {
            return Err(format!("`{name}` puts several series together: a rule looks at one"));
        }
        if KEYWORDS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(beyond(&Token::Name(name)));
        }
        self.next += 1;
        if self.take(&["("]).is_none() {
            return self.select(Some(name));
        }
        let mut args = Vec::new();
        while self.take(&[")"]).is_none() {
            args.push(self.comparison()?);
            if self.take(&[","]).is_none() {
                self.expect(")")?;
                break;
            }
        }
        if self.peek() == Some(&Token::Sign("[")) {
            return Err("a subquery computes at many times: a rule looks at each window once".to_owned());
        }
        Ok(Expr::Call(name, args))
    }

    /// What may follow a metric's name: matchers, a time.
    fn select(&mut self, metric: Option<String>) -> Result<Expr, String> {
        let mut select = Select { metric, matchers: Vec::new() };
        if self.take(&["{"]).is_some() {
            while self.take(&["}"]).is_none() {
                let matcher = self.matcher()?;
                select.matchers.push(matcher);
                if self.take(&[","]).is_none() {
                    self.expect("}")?;
                    break;
                }
            }
        }
        if self.take(&["["]).is_none() {
            return Ok(Expr::Select(select));
        }
        let Some(Token::Duration(millis)) = self.peek().cloned() else {
            return Err("the time in [ ] is none".to_owned());
        };
        self.next += 1;
        self.expect("]")?;
        Ok(Expr::Range(select, millis))
    }

    fn matcher(&mut self) -> Result<(String, &'static str, String), String> {
        let wrong = || "a label's matcher is none".to_owned();
        let Some(Token::Name(label)) = self.peek().cloned() else { return Err(wrong()) };
        self.next += 1;
        let operator = self.take(&["=", "!=", "=~", "!~"]).ok_or_else(wrong)?;
        let Some(Token::Text(value)) = self.peek().cloned() else { return Err(wrong()) };
        self.next += 1;
        Ok((label, operator, value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn metric(name: &str) -> Expr {
        Expr::Select(Select { metric: Some(name.into()), matchers: vec![] })
    }

    fn binary(sign: &'static str, left: Expr, right: Expr) -> Expr {
        Expr::Binary(sign, Box::new(left), Box::new(right))
    }

    #[test]
    fn arithmetic_binds_as_in_prometheus() {
        let found = parse("a - b / 2 * -3 > (1 + 1)").unwrap();
        let product = binary(
            "*",
            binary("/", metric("b"), Expr::Number(2.0)),
            Expr::Minus(Box::new(Expr::Number(3.0))),
        );
        let right = binary("+", Expr::Number(1.0), Expr::Number(1.0));
        assert_eq!(found, binary(">", binary("-", metric("a"), product), right));
    }

    #[test]
    fn selectors_have_matchers_and_times() {
        let matchers = vec![("a".into(), "=", "b".into()), ("c".into(), "!~", "d|e".into())];
        let select = Select { metric: Some("m".into()), matchers };
        assert_eq!(parse("m{a=\"b\", c!~'d|e',}").unwrap(), Expr::Select(select.clone()));
        let range = Expr::Range(select, 300_000);
        assert_eq!(parse("rate(m{a=\"b\",c!~\"d|e\"}[5m])").unwrap(), Expr::Call("rate".into(), vec![range]));
        let unnamed = Select { metric: None, matchers: vec![("__name__".into(), "=~", "a.*".into())] };
        assert_eq!(parse("{__name__=~\"a.*\"}").unwrap(), Expr::Select(unnamed));
    }

    #[test]
    fn what_has_no_equivalent_is_named() {
        for (text, part) in [
            ("a > 1 and b > 2", "`and`"),
            ("sum(a) > 1", "`sum`"),
            ("sum by (x) (a) > 1", "`sum`"),
            ("a / on (x) b > 1", "`on`"),
            ("a offset 5m > 1", "`offset`"),
            ("a > bool 1", "`bool`"),
            ("rate(a[5m:1m]) > 1", "`:1m`"),
            ("max_over_time(a[5m])[1h:1m] > 1", "subquery"),
            ("a ^ 2 > 1", "`^`"),
            ("a >", "missing"),
            ("a{b} > 1", "matcher"),
            ("a[x] > 1", "time"),
            ("(a > 1", "`)` is missing"),
            ("a b", "`b`"),
            ("label_replace(a, \"x\", \"$1\", \"y\", \"(.*)\") > 1", "can't stand there"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
        assert!(parse(&"(".repeat(10_000)).unwrap_err().contains("levels"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([-+*/(){}\\[\\],=~!<>^ a-z0-9.\"'`\\\\#:]|\\PC){0,40}") {
            if let Err(why) = parse(&text) {
                prop_assert!(!why.is_empty());
            }
        }
    }
}
