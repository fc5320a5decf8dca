"""通报: a month's bulletin in Chinese, as Markdown and as PDF, from one content."""
