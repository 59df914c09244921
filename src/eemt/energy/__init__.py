"""Water, growth and the energy that both carry into the critical zone."""
