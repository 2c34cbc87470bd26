// Applies the chosen theme and language before the first paint, so that the page does not flash.
{
  const root = document.documentElement;
  const languages = ['en', 'fr'];
  let [theme, language] = [null, null];
  try {
    theme = localStorage.getItem('holdfast.theme');
    language = localStorage.getItem('holdfast.language');
  } catch (_) { /* no storage: the system's theme, the browser's language */ }
  if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
  const wanted = language ?? navigator.language?.slice(0, 2);
  root.lang = languages.includes(wanted) ? wanted : 'en';
}
