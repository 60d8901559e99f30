//! Canonical octets of times (RFC 4517 section 3.3.13), which order as the times do.

use super::canonical::shown;
use super::matching::InvalidValue;

/// The most digits a fraction of an hour or a minute may have.
const MAX_FRACTION_DIGITS: usize = 18;

/// Appends a GeneralizedTime (RFC 4517 section 3.3.13) as UTC text without its `Z`, so that octets order as times do:
/// `YYYYMMDDhhmmss`, then a fraction without trailing zeros where there is one.
pub(super) fn append_time(value: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    match value {
        [digits @ .., b'Z'] if digits.len() == 14 && fast_time(digits) => {
            out.extend_from_slice(digits);
            Ok(())
        }
        _ => append_any_time(value, out),
    }
}

/// Whether 14 octets are a plain date and time that needs no arithmetic.
fn fast_time(digits: &[u8]) -> bool {
    let pair = |at: usize| u32::from(digits[at] - b'0') * 10 + u32::from(digits[at + 1] - b'0');
    digits.iter().all(u8::is_ascii_digit)
        && (1..=12).contains(&pair(4))
        && (1..=days_in_month(pair(0) * 100 + pair(2), pair(4))).contains(&pair(6))
        && pair(8) < 24
        && pair(10) < 60
        && pair(12) <= 60
}

fn append_any_time(value: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    let time = TimeText {
        rest: value,
        all: value,
    }
    .parse()?;
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}",
        time.year, time.month, time.day, time.hour, time.minute, time.second
    );
    out.extend_from_slice(text.as_bytes());
    if !time.fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(time.fraction.as_bytes());
    }
    Ok(())
}

struct Time {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    /// Digits after the second, without trailing zeros.
    fraction: String,
}

struct TimeText<'a> {
    rest: &'a [u8],
    all: &'a [u8],
}

impl TimeText<'_> {
    fn parse(mut self) -> Result<Time, InvalidValue> {
        let century = self.pair(0, 99)?;
        let year = century * 100 + self.pair(0, 99)?;
        let month = self.pair(1, 12)?;
        let day = self.pair(1, days_in_month(year, month))?;
        let hour = self.pair(0, 23)?;
        let minute = self.optional_pair(59)?;
        let second = if minute.is_some() {
            self.optional_pair(60)?
        } else {
            None
        };
        let fraction = self.fraction()?;
        let offset = self.offset()?;
        let mut time = Time {
            year,
            month,
            day,
            hour,
            minute: minute.unwrap_or(0),
            second: second.unwrap_or(0),
            fraction: String::new(),
        };
        match (minute, second) {
            (_, Some(_)) => time.fraction = fraction.trim_end_matches('0').to_owned(),
            (Some(_), None) => time.set_fraction_of(60, &fraction).ok_or_else(|| self.invalid())?,
            (None, None) => time.set_fraction_of(3600, &fraction).ok_or_else(|| self.invalid())?,
        }
        time.shift(-offset).ok_or_else(|| self.invalid())?;
        Ok(time)
    }

    fn invalid(&self) -> InvalidValue {
        InvalidValue::new(
            "a generalized time such as 20300131093000Z",
            format!("{} is none", shown(self.all)),
        )
    }

    fn pair(&mut self, low: u32, high: u32) -> Result<u32, InvalidValue> {
        match self.rest {
            [tens @ b'0'..=b'9', ones @ b'0'..=b'9', after @ ..] => {
                let number = u32::from(tens - b'0') * 10 + u32::from(ones - b'0');
                self.rest = after;
                if (low..=high).contains(&number) {
                    Ok(number)
                } else {
                    Err(self.invalid())
                }
            }
            _ => Err(self.invalid()),
        }
    }

    fn optional_pair(&mut self, high: u32) -> Result<Option<u32>, InvalidValue> {
        if self.rest.first().is_some_and(u8::is_ascii_digit) {
            self.pair(0, high).map(Some)
        } else {
            Ok(None)
        }
    }

    fn fraction(&mut self) -> Result<String, InvalidValue> {
        let [b'.' | b',', digits @ ..] = self.rest else {
            return Ok(String::new());
        };
        let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.invalid());
        }
        let (digits, after) = digits.split_at(count);
        self.rest = after;
        Ok(digits.iter().map(|b| char::from(*b)).collect())
    }

    /// Minutes east of UTC.
    fn offset(&mut self) -> Result<i64, InvalidValue> {
        let sign = match self.rest {
            [b'Z'] => return Ok(0),
            [b'+', ..] => 1,
            [b'-', ..] => -1,
            _ => return Err(self.invalid()),
        };
        self.rest = &self.rest[1..];
        let hours = self.pair(0, 23)?;
        let minutes = self.optional_pair(59)?.unwrap_or(0);
        if self.rest.is_empty() {
            Ok(sign * i64::from(hours * 60 + minutes))
        } else {
            Err(self.invalid())
        }
    }
}

impl Time {
    /// Spreads a fraction of a unit of `seconds` seconds over minute, second and fraction.
    fn set_fraction_of(&mut self, seconds: u128, fraction: &str) -> Option<()> {
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() {
            return Some(());
        }
        if fraction.len() > MAX_FRACTION_DIGITS {
            return None;
        }
        let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
        let product = fraction.parse::<u128>().ok()? * seconds;
        let whole = u32::try_from(product / scale).ok()?;
        self.minute += whole / 60;
        self.second = whole % 60;
        let digits = format!("{:0width$}", product % scale, width = fraction.len());
        self.fraction = digits.trim_end_matches('0').to_owned();
        Some(())
    }

    /// Moves by minutes; `None` outside the years 0 to 9999. Seconds stay, so a leap second does too.
    fn shift(&mut self, minutes: i64) -> Option<()> {
        let total = i64::from(self.hour * 60 + self.minute) + minutes;
        let clock = u32::try_from(total.rem_euclid(1440)).ok()?;
        (self.hour, self.minute) = (clock / 60, clock % 60);
        match total.div_euclid(1440) {
            0 => {}
            days if days > 0 => self.next_day()?,
            _ => self.previous_day()?,
        }
        Some(())
    }

    fn next_day(&mut self) -> Option<()> {
        self.day += 1;
        if self.day > days_in_month(self.year, self.month) {
            (self.day, self.month) = (1, self.month + 1);
        }
        if self.month > 12 {
            (self.month, self.year) = (1, self.year + 1);
        }
        (self.year <= 9999).then_some(())
    }

    fn previous_day(&mut self) -> Option<()> {
        if self.day > 1 {
            self.day -= 1;
            return Some(());
        }
        if self.month > 1 {
            self.month -= 1;
        } else {
            (self.month, self.year) = (12, self.year.checked_sub(1)?);
        }
        self.day = days_in_month(self.year, self.month);
        Some(())
    }
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}
