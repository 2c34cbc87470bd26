// Starts the console; says so when it cannot start.
import init from './app.js';

try {
  await init({ module_or_path: new URL('./app_bg.wasm', import.meta.url) });
} catch (error) {
  const splash = document.getElementById('splash');
  if (splash) {
    splash.textContent = 'The console cannot start in this browser: ' + error + '. Reload the page; if it stays, use a current Firefox, Chromium or Safari.';
  }
  throw error;
}
