//! `--csv` and `--limit`: how a list is shown, and how much of it.

use clap::Args;

/// What every list that people export takes.
#[derive(Args, Clone, Copy, Debug)]
pub struct RowsArgs {
    /// CSV for spreadsheets instead of a table
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// The most rows to show
    #[arg(long, default_value_t = 200, value_name = "ROWS")]
    pub limit: usize,
}
