"""The command line: thin shells, each around one public library call. No decisions are taken here."""
