/** Entry point of the page. */
import './no-eval.ts'
import { render } from 'preact'
import { App } from './app.tsx'
import { findStored } from './session.ts'

const root = document.getElementById('page')
if (root) {
  root.replaceChildren()
  render(<App />, root)
}
void findStored()
// Chromium asks visitors nothing; elsewhere a question at the first visit would be about nothing that they know.
if ('chrome' in globalThis) void navigator.storage?.persist?.()
