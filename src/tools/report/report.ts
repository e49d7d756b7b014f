/** The contents of a report: findings in words, with tables and figures. Analyses create it, renderers write it. */
import type { Block, Table } from './blocks.ts'

export interface Report {
  readonly title: string
  /** The strongest finding, as a sentence right under the title. */
  readonly headline?: string
  /** Lines under the title: what was done, with which data, on which machine. */
  readonly facts: readonly string[]
  /** The command that reproduces the report. */
  readonly command: string
  readonly sections: readonly Section[]
}

export interface Section {
  /** Name of the anchor. `summary` is the section that opens the report; its verdicts may begin with a question. */
  readonly id: string
  readonly title: string
  readonly about: string
  /** The table at the start of the section. */
  readonly lead?: Table
  /** The findings, each a sentence in plain words. */
  readonly verdicts: readonly string[]
  /** A command to paste, after the findings. */
  readonly command?: string
  readonly blocks: readonly Block[]
}
