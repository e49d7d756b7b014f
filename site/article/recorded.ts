/** What the pictures of the article draw: the experts of a text, as recorded trainings choose them. */
import { runs } from '../../docs/results/routing.json'
import type { SharedRun } from '../../src/faces/watch/share/shared-run.ts'
import type { Training } from './state.ts'

export interface RecordedRoutes {
  readonly step: number
  readonly routers: SharedRun['index']['routers']
  readonly tokens: readonly string[]
  /** Experts of each router, of shape [routers][tokens × choices]. */
  readonly experts: readonly (readonly number[])[]
  readonly choices: number
}

const routesOf = ({ step, index, text }: (typeof runs)['top-1']): RecordedRoutes => ({
  step,
  routers: index.routers,
  ...text,
})

export const recorded: Readonly<Record<Training, RecordedRoutes>> = {
  'top-1': routesOf(runs['top-1']),
  'top-2': routesOf(runs['top-2']),
  'prototypes-2x1': routesOf(runs['prototypes-2x1']),
  'no-balancing': routesOf(runs['no-balancing']),
}

/** The trainings with and without a balancing loss, to replay. */
export const balancing = {
  off: runs['no-balancing'] as unknown as SharedRun,
  on: runs['top-1'] as unknown as SharedRun,
}
