// Starts the console in the page's language; says so when it cannot start.
import init, { run } from './app.js';
import { restore } from './keep.js';

const language = document.documentElement.lang;
const splash = document.getElementById('splash');
const words = splash?.querySelector('p');
if (words?.dataset[language]) words.textContent = words.dataset[language];

// Asked for beside the program; without its texts the console is in English.
const read = (name) => language === 'en'
  ? ''
  : fetch(new URL(`./${language}${name}.json`, import.meta.url)).then((answer) => answer.ok ? answer.text() : '', () => '');
const texts = [read(''), read('.heard')];

// The editor is loaded by the first page that edits.
window.holdfastEditor = () => import('./editor.js');

try {
  await init({ module_or_path: new URL('./app_bg.wasm', import.meta.url) });
  run(language, ...await Promise.all(texts));
  restore();
} catch (error) {
  if (words) {
    const cannot = words.dataset[`${language}Cannot`] ?? words.dataset.enCannot;
    words.textContent = cannot.replace('{error}', error);
  }
  throw error;
}
