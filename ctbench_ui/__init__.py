"""The screen: the only package that imports Streamlit. Pages gather inputs, call the core, and draw."""
