/** A report: what was found, in words, with the tables and figures that show it. Analyses make it, renderers write it. */
import type { Block } from './blocks.ts'

export interface Report {
  readonly title: string
  /** Lines under the title: what was done, with which data, on which machine. */
  readonly facts: readonly string[]
  /** The command that makes it again. */
  readonly command: string
  readonly sections: readonly Section[]
}

export interface Section {
  /** Names the anchor. `summary` is the section whose verdicts are answers, each beginning with its question. */
  readonly id: string
  readonly title: string
  readonly about: string
  /** What was found, in plain words; each a sentence. */
  readonly verdicts: readonly string[]
  readonly blocks: readonly Block[]
}
