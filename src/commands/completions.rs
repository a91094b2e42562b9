//! `completions`: what is generated from the command line's own description.

use clap::CommandFactory;

use crate::cli::{Cli, Completions};
use crate::exit::{Code, Failure};

pub(super) fn run(args: &Completions) -> Result<Code, Failure> {
    let mut command = Cli::command();
    if let Some(directory) = &args.man {
        let failed = |error: std::io::Error| {
            Failure::because(
                Code::Fatal,
                &format!("writing man pages to {}", directory.display()),
                &error,
            )
        };
        std::fs::create_dir_all(directory).map_err(failed)?;
        command.build();
        clap_mangen::generate_to(command.clone(), directory).map_err(failed)?;
    }
    if let Some(shell) = args.shell {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, "tar365", &mut script);
        let mut data = crate::terminal::Data::new();
        data.copy(&mut script.as_slice()).map_err(|error| crate::terminal::gone(&error))?;
        data.finish()?;
    }
    Ok(Code::Success)
}
