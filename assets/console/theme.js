// Applies the chosen theme before the first paint, so that the page does not flash.
try {
  const theme = localStorage.getItem('holdfast.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch (_) { /* no storage: the system's theme */ }
