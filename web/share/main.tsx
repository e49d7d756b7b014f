/** Entry point of the page. */
import { render } from 'preact'
import type { SharedRun } from '../../src/faces/watch/share/shared-run.ts'
import { paintWithoutWorker } from '../src/curves/plot.ts'
import { App } from './app.tsx'

paintWithoutWorker()
const root = document.getElementById('page')
const run = JSON.parse(document.getElementById('run')?.textContent ?? 'null') as SharedRun | null
if (root && run) {
  root.replaceChildren()
  render(<App run={run} />, root)
}
