/** Entry point of the page. */
import './no-eval.ts'
import { render } from 'preact'
import { followAddress } from '../src/shared/view-state.ts'
import { App } from './app.tsx'
import { findStored } from './session.ts'

const root = document.getElementById('page')
if (root) {
  root.replaceChildren()
  render(<App />, root)
}
followAddress()
void findStored()
// Chromium decides without asking the visitor. Other browsers would ask at the first visit, before visitors know of
// anything that is stored.
if ('chrome' in globalThis) void navigator.storage?.persist?.()
