/** What the runs of one start of a study share: its grid, its results, the other processes, and how a run is done. */

import type { StudyEvent } from '../events.ts'
import type { Grid } from '../grid/grid.ts'
import type { SharedCells } from '../results/cell-files.ts'
import type { Ledger } from '../results/ledger.ts'
import type { Processes } from '../results/processes.ts'
import type { Corpora } from './corpora.ts'
import type { TimeLeft } from './time-left.ts'
import type { RunJob } from './workers.ts'

export interface RunsContext {
  readonly grid: Grid
  readonly ledger: Ledger
  readonly processes: Processes
  readonly cells: SharedCells
  readonly corpora: ReadonlyMap<string, Corpora>
  readonly directory: string
  /** Number of runs at a time, and of threads of each run. */
  readonly jobs: number
  readonly threads: number
  /** Number of threads when steps are timed, one arm at a time. */
  readonly timingThreads: number
  readonly keepCheckpoints: boolean
  readonly timeLeft: TimeLeft
  readonly run: RunJob
  readonly signal: AbortSignal
  readonly onEvent: (event: StudyEvent) => void
}
