/** Two recorded trainings with and without a balancing loss, which play until the visitor trains. */
import { runs } from '../../docs/results/routing.json'
import type { SharedRun } from '../../src/faces/watch/share/shared-run.ts'
import { Balancing } from '../share/balancing.tsx'

export const FirstScreen = () => (
  <Balancing off={runs['no-balancing'] as unknown as SharedRun} on={runs['top-1'] as unknown as SharedRun} />
)
