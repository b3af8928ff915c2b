"""``python -m fastsoftmax`` is the command ``fastsoftmax``."""

from fastsoftmax.cli import main

raise SystemExit(main())
