// The console's editor: CodeMirror with line numbers, search, colours for XML and shell, and marks at what is wrong.
//
// It lives in a shadow root: CodeMirror brings its style sheets, and a document whose policy is `style-src 'self'` takes
// none but those a shadow root adopts. Colours are the console's own custom properties, so light and dark follow.
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { xml } from '@codemirror/lang-xml';
import { HighlightStyle, StreamLanguage, bracketMatching, indentUnit, syntaxHighlighting } from '@codemirror/language';
import { shell } from '@codemirror/legacy-modes/mode/shell';
import { lintGutter, setDiagnostics } from '@codemirror/lint';
import { highlightSelectionMatches, search, searchKeymap } from '@codemirror/search';
import { Annotation, Compartment, EditorState } from '@codemirror/state';
import { EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';

const look = EditorView.theme({
  '&': { color: 'var(--text)', backgroundColor: 'var(--sunken)', fontSize: '.8125rem', height: '100%', borderRadius: 'var(--radius-s)' },
  '&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '1px' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.6' },
  '.cm-content': { caretColor: 'var(--text)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': { background: 'var(--accent-bg)' },
  '.cm-gutters': { color: 'var(--muted)', backgroundColor: 'var(--sunken)', borderRight: '1px solid var(--line)' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'color-mix(in srgb, var(--accent-bg) 45%, transparent)' },
  '.cm-matchingBracket, &.cm-focused .cm-matchingBracket': { backgroundColor: 'var(--accent-bg)', outline: '1px solid var(--accent)' },
  '.cm-panels': { color: 'var(--text)', backgroundColor: 'var(--raised)', borderTop: '1px solid var(--line)' },
  '.cm-textfield, .cm-button': { color: 'var(--text)', background: 'var(--panel)', border: '1px solid var(--line-strong)', borderRadius: '4px' },
  '.cm-searchMatch': { backgroundColor: 'var(--busy-bg)', outline: '1px solid var(--busy-line)' },
  '.cm-tooltip': { color: 'var(--text)', backgroundColor: 'var(--raised)', border: '1px solid var(--line)' },
  '.cm-diagnostic-error': { borderLeft: '4px solid var(--bad)' },
});

const colours = HighlightStyle.define([
  { tag: [tags.comment, tags.processingInstruction, tags.documentMeta], color: 'var(--muted)', fontStyle: 'italic' },
  { tag: [tags.tagName, tags.keyword, tags.standard(tags.name), tags.definitionKeyword], color: 'var(--accent)', fontWeight: '600' },
  { tag: [tags.attributeName, tags.variableName, tags.definition(tags.variableName), tags.special(tags.variableName)], color: 'var(--busy)' },
  { tag: [tags.string, tags.attributeValue, tags.special(tags.string)], color: 'var(--ok)' },
  { tag: [tags.angleBracket, tags.punctuation, tags.operator, tags.number], color: 'var(--muted)' },
  { tag: tags.invalid, color: 'var(--bad)' },
]);

const languages = { xml: () => xml(), shell: () => StreamLanguage.define(shell) };
// A change that came from the page, not from the person who types.
const fromPage = Annotation.define();

/// Mounts an editor into `host`. `changed(text)` is called for what is typed; `words` are the texts of its search in the language of the page.
export function mount(host, label, words, changed) {
  const root = host.shadowRoot ?? host.attachShadow({ mode: 'open', delegatesFocus: true });
  root.replaceChildren();
  const language = new Compartment();
  let called = '';
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: '',
      extensions: [
        lineNumbers(), highlightActiveLineGutter(), highlightActiveLine(), history(), drawSelection(), bracketMatching(),
        EditorState.allowMultipleSelections.of(true), indentUnit.of('  '), search({ top: false }), highlightSelectionMatches(),
        lintGutter(), look, syntaxHighlighting(colours), language.of([]),
        // Tab leaves the editor, as it leaves every field.
        keymap.of([...defaultKeymap, ...searchKeymap, ...historyKeymap]),
        EditorView.contentAttributes.of({ 'aria-label': label, tabindex: '0', spellcheck: 'false', autocapitalize: 'none' }),
        EditorState.phrases.of(words),
        // What replaces a selection is put there by the editor: the browser would carry the selection's looks over in
        // style attributes, which the policy forbids.
        EditorView.domEventHandlers({
          beforeinput(event, view) {
            if (event.inputType !== 'insertText' || event.data === null || event.isComposing || view.state.selection.main.empty) return false;
            event.preventDefault();
            view.dispatch(view.state.update(view.state.replaceSelection(event.data), { scrollIntoView: true, userEvent: 'input.type' }));
            return true;
          },
        }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged && !update.transactions.some((one) => one.annotation(fromPage))) changed(update.state.doc.toString());
        }),
      ],
    }),
  });
  return {
    /// Shows `text` in `kind` (`xml`, `shell` or anything else for plain text); nothing happens if it is shown already.
    show(text, kind) {
      if (text !== view.state.doc.toString()) {
        view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text }, annotations: fromPage.of(true) });
      }
      if (kind !== called) {
        called = kind;
        view.dispatch({ effects: language.reconfigure(languages[kind]?.() ?? []) });
      }
    },
    /// Marks what is wrong: flat triples of line, column (both from 1) and words.
    mark(marks) {
      const found = [];
      for (let index = 0; index + 2 < marks.length; index += 3) {
        const line = view.state.doc.line(Math.min(Math.max(1, Number(marks[index])), view.state.doc.lines));
        const from = Math.min(line.from + Math.max(0, Number(marks[index + 1]) - 1), line.to);
        const word = /^[\w<-]+/.exec(view.state.sliceDoc(from, line.to))?.[0].length ?? 0;
        found.push({ from, to: Math.max(from + word, Math.min(from + 1, line.to)), severity: 'error', message: String(marks[index + 2]) });
      }
      view.dispatch(setDiagnostics(view.state, found));
    },
    destroy() {
      view.destroy();
    },
  };
}
