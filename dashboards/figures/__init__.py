"""Pictures: rows in, Plotly figures out; nothing here knows on which page a figure is shown."""
