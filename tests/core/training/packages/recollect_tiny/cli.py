"""recollect-tiny: recall, in small."""

from recollect_cli import command_line

main = command_line("recollect_tiny", default="recall")

if __name__ == "__main__":
    main()
