//! Filter: the text of a derived series' value. In: `100 * (1 - free / total)` and the operands' names. Out: an [`Expr`]
//! that loads operands by their number.
//!
//! Invariant: no recursion (two stacks, the shunting yard), so no text can exhaust the thread's stack.

use super::expr::{Expr, Step};

/// Bytes of one formula.
const MOST_BYTES: usize = 1_000;

/// Steps of one formula: numbers, operands and operators.
const MOST_STEPS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'t> {
    Number(f64),
    Name(&'t str),
    Operator(Step),
    Open,
    Close,
}

/// What waits for its right side.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Waiting {
    Operator(Step),
    Open,
}

/// `+ - * /`, a sign, parentheses, numbers such as `1.5e3`, and the operands by name.
pub(super) fn parse(text: &str, operands: &[String]) -> Result<Expr, String> {
    let wrong = |reason: String| format!("read `{}`: {reason}", shortened(text));
    if text.len() > MOST_BYTES {
        return Err(wrong(format!("more than {MOST_BYTES} bytes")));
    }
    let steps = postfix(text, operands).map_err(wrong)?;
    if steps.len() > MOST_STEPS {
        return Err(wrong(format!("more than {MOST_STEPS} numbers, operands and operators")));
    }
    Expr::new(steps).ok_or_else(|| wrong("too many parentheses in each other".into()))
}

fn shortened(text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    if text.chars().count() <= 80 { text } else { text.chars().take(80).chain("...".chars()).collect() }
}

fn postfix(text: &str, operands: &[String]) -> Result<Vec<Step>, String> {
    let mut out = Vec::new();
    let mut waiting = Vec::new();
    let mut rest = text;
    // whether a value has just ended, so that an operator may follow
    let mut after_value = false;
    while let Some((token, after)) = token(rest)? {
        let here = shortened(rest.trim_start());
        rest = after;
        match token {
            Token::Number(_) | Token::Name(_) | Token::Open if after_value => {
                return Err(format!("an operator is missing before `{here}`"));
            }
            Token::Number(number) => out.push(Step::Const(number)),
            Token::Name(name) => {
                let operand = operands
                    .iter()
                    .position(|known| known == name)
                    .ok_or_else(|| format!("`{name}` is not among the operands"))?;
                out.push(Step::Load(operand as u32));
            }
            Token::Open => waiting.push(Waiting::Open),
            Token::Operator(Step::Subtract) if !after_value => {
                waiting.push(Waiting::Operator(Step::Negate));
            }
            Token::Operator(_) | Token::Close if !after_value => {
                return Err(format!("a value is missing before `{here}`"));
            }
            Token::Operator(step) => {
                while let Some(&Waiting::Operator(before)) = waiting.last()
                    && strength(before) >= strength(step)
                {
                    waiting.pop();
                    emit(&mut out, before)?;
                }
                waiting.push(Waiting::Operator(step));
            }
            Token::Close => loop {
                match waiting.pop() {
                    Some(Waiting::Operator(step)) => emit(&mut out, step)?,
                    Some(Waiting::Open) => break,
                    None => return Err("a parenthesis is closed that was not opened".into()),
                }
            },
        }
        after_value = matches!(token, Token::Number(_) | Token::Name(_) | Token::Close);
    }
    if !after_value {
        return Err("a value is missing at its end".into());
    }
    while let Some(step) = waiting.pop() {
        let Waiting::Operator(step) = step else { return Err("a parenthesis is not closed".into()) };
        emit(&mut out, step)?;
    }
    Ok(out)
}

fn emit(out: &mut Vec<Step>, step: Step) -> Result<(), String> {
    if step == Step::Divide && out.last() == Some(&Step::Const(0.0)) {
        return Err("it divides by zero".into());
    }
    out.push(step);
    Ok(())
}

fn strength(step: Step) -> u8 {
    match step {
        Step::Add | Step::Subtract => 1,
        Step::Multiply | Step::Divide => 2,
        Step::Negate | Step::Load(_) | Step::Const(_) => 3,
    }
}

/// The next token and what follows it; `None` at the end.
fn token(text: &str) -> Result<Option<(Token<'_>, &str)>, String> {
    let text = text.trim_start();
    let Some(first) = text.chars().next() else { return Ok(None) };
    let token = match first {
        '+' => Token::Operator(Step::Add),
        '-' => Token::Operator(Step::Subtract),
        '*' => Token::Operator(Step::Multiply),
        '/' => Token::Operator(Step::Divide),
        '(' => Token::Open,
        ')' => Token::Close,
        '0'..='9' | '.' => {
            let (number, rest) = text.split_at(number_end(text));
            let value = number.parse::<f64>().ok().filter(|value| value.is_finite());
            let value = value.ok_or_else(|| format!("`{number}` is no number"))?;
            return Ok(Some((Token::Number(value), rest)));
        }
        'a'..='z' | 'A'..='Z' | '_' => {
            let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            return Ok(Some((Token::Name(name), rest)));
        }
        other => return Err(format!("`{}` has no meaning here", other.escape_default())),
    };
    Ok(Some((token, &text[1..])))
}

/// Where a number ends: a sign belongs to it only after its `e`.
fn number_end(text: &str) -> usize {
    let mut before = '0';
    let beyond = |&(_, c): &(usize, char)| {
        let sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E');
        before = c;
        !(sign || c.is_ascii_alphanumeric() || c == '.')
    };
    text.char_indices().find(beyond).map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, values: &[f64]) -> Result<f64, String> {
        let names: Vec<String> = ["a", "b", "c"].map(String::from).into();
        Ok(parse(text, &names)?.value(values))
    }

    #[test]
    fn it_computes_as_one_reads() {
        for (text, wanted) in [
            ("a", 2.0),
            ("a + b * c", 17.0),
            ("(a + b) * c", 25.0),
            ("a - b - c", -6.0),
            ("c / a / a", 1.25),
            ("-a * -b", 6.0),
            ("--a", 2.0),
            ("-(a + b)", -5.0),
            ("2 - -a", 4.0),
            ("100 * (1 - a / c)", 60.0),
            ("1.5e1 + 1E-1*a", 15.2),
            (".5*a", 1.0),
            ("1e+1-a", 8.0),
        ] {
            assert_eq!(value(text, &[2.0, 3.0, 5.0]).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_has_no_result_is_absent() {
        for (text, values) in [
            ("a / b", [1.0, 0.0]),
            ("a / b", [0.0, 0.0]),
            ("1 / (a / b)", [1.0, 0.0]),
            ("0 * a + b", [f64::NAN, 1.0]),
            ("1 / (a * b)", [1e300, 1e300]),
            ("1 / a", [f64::INFINITY, 0.0]),
            ("c", [1.0, 1.0]),
        ] {
            assert!(value(text, &values).unwrap().is_nan(), "{text} {values:?}");
        }
    }

    #[test]
    fn a_wrong_formula_is_told_why() {
        for (text, part) in [
            ("", "missing at its end"),
            ("a +", "missing at its end"),
            ("a b", "operator is missing before `b"),
            ("2(a)", "operator is missing before `(a)`"),
            ("* a", "value is missing before `* a`"),
            ("+a", "value is missing before"),
            ("()", "value is missing before `)`"),
            ("(a", "not closed"),
            ("a)", "not opened"),
            ("a % b", "`%` has no meaning"),
            ("a / 0", "divides by zero"),
            ("d", "`d` is not among the operands"),
            ("1e999", "no number"),
            ("1.2.3", "no number"),
            ("0x10", "no number"),
            (&"(".repeat(1_001), "more than 1000 bytes"),
            (&"a+".repeat(64), "missing at its end"),
            (&format!("{}a", "a+".repeat(40)), "more than 64"),
        ] {
            let message = value(text, &[]).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
        let deep = format!("{}a{}", "(a+".repeat(31), ")".repeat(31));
        assert_eq!(value(&deep, &[1.0]).unwrap(), 32.0);
        let nested = format!("{}a{}", "(".repeat(400), ")".repeat(400));
        assert_eq!(value(&nested, &[1.0]).unwrap(), 1.0);
    }

    #[test]
    fn what_can_only_grow_is_known() {
        let names: Vec<String> = ["a", "b"].map(String::from).into();
        for (text, growing) in [
            ("a", true),
            ("a + b", true),
            ("2 * (a + b / 4) * (3 - 1)", true),
            ("a - b", false),
            ("a + 1", false),
            ("-1 * a", false),
            ("a * b", false),
            ("1 / a", false),
            ("a * 0", false),
            ("--a", false),
        ] {
            assert_eq!(parse(text, &names).unwrap().is_growing(), growing, "{text}");
        }
    }
}
