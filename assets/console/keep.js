// What was typed into single fields outlives a loading of the page. Passwords are never kept; nothing is kept elsewhere than
// in this tab. Screens that edit something larger keep it themselves (web/src/keep.rs) and are left out.
const KEY = 'holdfast.typed';
const OWN = /^\/(cluster|advanced|configuration\/modules)(\/|$)/;
const typed = new Set();
let page = location.pathname;

const find = (id) => document.querySelector(`[data-testid="${CSS.escape(id)}"]`);
const isField = (e) => e instanceof HTMLInputElement || e instanceof HTMLTextAreaElement || e instanceof HTMLSelectElement;
const isKept = (e) => isField(e) && e.dataset.testid && !e.dataset.secret && !['password', 'file'].includes(e.type);
const isBox = (e) => e.type === 'checkbox' || e.type === 'radio';

document.addEventListener('input', (event) => {
  if (location.pathname !== page) typed.clear();
  page = location.pathname;
  if (event.isTrusted && isKept(event.target)) typed.add(event.target.dataset.testid);
}, true);

// Called before the page is loaded anew.
window.holdfastKeep = () => {
  const path = location.pathname;
  if (path !== page || OWN.test(path)) return;
  const fields = [...typed].map((id) => [id, find(id)]).filter(([, e]) => e && !isBox(e)).map(([id, e]) => [id, e.value]);
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ path, fields }));
  } catch (_) { /* no storage: nothing is kept */ }
};

// Puts back what was kept, as its fields come; ends with what the person does first.
export function restore() {
  let kept = null;
  try {
    kept = JSON.parse(sessionStorage.getItem(KEY));
    sessionStorage.removeItem(KEY);
  } catch (_) { /* no storage, or nothing that was kept by this version */ }
  if (!kept || kept.path !== location.pathname) return;
  const end = Date.now() + 15000;
  let over = false;
  for (const act of ['pointerdown', 'keydown']) addEventListener(act, (event) => { over ||= event.isTrusted; }, true);
  const turn = () => {
    if (over || Date.now() > end || location.pathname !== kept.path) return;
    for (const [id, value] of kept.fields) {
      const e = find(id);
      if (e && isKept(e) && e.value !== value) {
        e.value = value;
        e.dispatchEvent(new Event('input', { bubbles: true }));
        e.dispatchEvent(new Event('change', { bubbles: true }));
        typed.add(id);
      }
    }
    setTimeout(turn, 100);
  };
  turn();
}
