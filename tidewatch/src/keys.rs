//! `tidewatch keys create`: a key for a person or a program. The key is printed once; the file keeps its SHA-256.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tidewatch_gateway::keys::{self, Role};

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key, add its hash to the file, print the key
    Create(CreateArgs),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CreateArgs {
    /// Whose key it is
    name: String,
    /// viewer, writer or admin
    #[arg(long, value_enum)]
    role: Role,
    /// The gateway's key file
    #[arg(long, env = "TIDEWATCH_KEYS", default_value = ".tidewatch/keys.yaml", value_name = "FILE")]
    keys: PathBuf,
}

#[expect(clippy::print_stdout, reason = "the key is the output, and shown only here")]
pub(crate) fn run(command: KeysCommand) -> anyhow::Result<()> {
    let KeysCommand::Create(args) = command;
    let key = keys::create(&args.keys, &args.name, args.role)
        .with_context(|| format!("add key to {}", args.keys.display()))?;
    println!("{}", key.reveal());
    Ok(())
}
