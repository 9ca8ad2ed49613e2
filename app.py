"""What `streamlit run app.py` serves: the app of `ctbench_ui`."""

import streamlit as st

from ctbench_ui.app import arguments

app = st.App(**arguments())  # Streamlit looks for this call
