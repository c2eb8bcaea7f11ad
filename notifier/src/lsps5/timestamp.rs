//! The header `x-lsps5-timestamp`, in two forms.

const DAY_SECONDS: u64 = 24 * 3600;

/// bLIP-55 asks for `YYYY-MM-DDThh:mm:ss.uuuZ`. The validator of `lightning-liquidity` 0.3.0-rc3 reads any RFC 3339 text, but
/// checks the signature against its own way to write it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// `2026-11-21T09:30:00.123456+00:00`: verifies with either, unless the form itself is asked for.
    #[default]
    Offset,
    /// `2026-11-21T09:30:00.123Z`: bLIP-55 to the letter.
    Zulu,
}

impl Form {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Offset => Self::Zulu,
            Self::Zulu => Self::Offset,
        }
    }

    /// The text of a time in seconds since 1970, and microseconds.
    pub(super) fn of(self, unix: u64, micros: u32) -> String {
        let (year, month, day) = civil(unix / DAY_SECONDS);
        let seconds = unix % DAY_SECONDS;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let fraction = match self {
            Self::Offset => format!("{micros:06}+00:00"),
            Self::Zulu => format!("{:03}Z", micros / 1_000),
        };
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction}")
    }
}

/// The date of a day since 1970-01-01, counted in eras of 400 years that begin in March, so that a leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_known_times() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_683_622_332, "2023-05-09T08:52:12"),
            (1_795_253_400, "2026-11-21T09:30:00"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(Form::Offset.of(unix, 7_042), format!("{text}.007042+00:00"));
            assert_eq!(Form::Zulu.of(unix, 7_042), format!("{text}.007Z"));
        }
        assert_eq!(Form::Offset.other().other(), Form::Offset);
    }
}
