/** Studies in a temporary folder, whose jobs train nothing. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FinishedRun } from '../contract.ts'
import type { StudyEvent } from '../events.ts'
import type { Job, TrainJob } from '../runs/job.ts'
import type { StudyOptions } from '../runs/run-study.ts'
import type { RunJob } from '../runs/workers.ts'
import { type Specification, type SpecificationInput, specificationSchema } from '../specification.ts'
import { finishedRun } from './records.ts'

export class FakeStudy {
  readonly folder: string
  readonly events: StudyEvent[] = []

  private constructor(folder: string) {
    this.folder = folder
  }

  /** @param root Folder in which the temporary folder is made. */
  static async open(root = tmpdir()): Promise<FakeStudy> {
    const folder = await mkdtemp(join(root, 'choir-study-'))
    await writeFile(join(folder, 'text.txt'), 'A text about sparse experts, long enough. '.repeat(2000))
    return new FakeStudy(folder)
  }

  /** The same study for another process. */
  static at(folder: string): FakeStudy {
    return new FakeStudy(folder)
  }

  close(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true })
  }

  file(...names: string[]): string {
    return join(this.folder, ...names)
  }

  specification(input: SpecificationInput): Specification {
    return specificationSchema.parse({
      base: 'tiny',
      ...input,
      set: { 'data.source': this.file('text.txt'), 'data.cache': this.file('cache'), ...input.set },
    })
  }

  options(more: Partial<StudyOptions> = {}): StudyOptions {
    return {
      name: 'test',
      command: 'choir study test',
      directory: this.file('out'),
      jobs: 2,
      threads: 1,
      timingThreads: 2,
      keepCheckpoints: false,
      onEvent: (event) => void this.events.push(event),
      ...more,
    }
  }

  /** Events of a kind, in order. */
  of<Kind extends StudyEvent['kind']>(kind: Kind): Extract<StudyEvent, { kind: Kind }>[] {
    return this.events.filter((event): event is Extract<StudyEvent, { kind: Kind }> => event.kind === kind)
  }
}

/** The record of a job whose loss follows from its key. Trials of different rates differ by more than the margin. */
export function runWithLoss(job: TrainJob): FinishedRun {
  return runWithGivenLoss(job, 4 + Number.parseInt(job.key.slice(0, 8), 16) / 2 ** 32)
}

/** The record of a job with a given loss. */
export function runWithGivenLoss(job: TrainJob, loss: number): FinishedRun {
  const run = finishedRun(job)
  const at = (rule: 'train' | 'eval' | 'none') => ({ ...run.heldOut.capacities[rule], loss })
  return {
    ...run,
    heldOut: { ...run.heldOut, loss, capacities: { train: at('train'), eval: at('eval'), none: at('none') } },
  }
}

/** A function that runs no job but lists it in `jobs` and returns made-up results. */
export function recorder(act: (job: TrainJob, done: number) => FinishedRun = finishedRun) {
  const jobs: Job[] = []
  const run: RunJob = async (job) => {
    jobs.push(job)
    if (job.kind === 'time') return { kind: 'timing', stepMs: 10, engine: 'none' }
    if (job.kind === 'probe') return { kind: 'stopped' }
    await new Promise((resolve) => setTimeout(resolve, 1))
    return { kind: 'record', record: act(job, jobs.length), specialisation: null }
  }
  return { jobs, run }
}
