/** Entry point of the front page's picture: two recorded trainings, replayed by the parts of the shared page. */
import { render } from 'preact'
import { runs } from '../../docs/results/routing.json'
import type { SharedRun } from '../../src/faces/watch/share/shared-run.ts'
import { Balancing } from '../../web/share/balancing.tsx'
import './front.css'

const root = document.getElementById('balancing')
if (root) {
  root.replaceChildren()
  render(
    <Balancing off={runs['no-balancing'] as unknown as SharedRun} on={runs['top-1'] as unknown as SharedRun} />,
    root,
  )
}
