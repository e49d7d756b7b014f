/** Short texts, each with two settings to train side by side. They point at measures, and do not reveal the outcome. */
import { defaultSetting, type Setting } from './settings/settings.ts'

export interface Lesson {
  readonly title: string
  readonly text: string
  /** The measures and maps to look at while the models train. */
  readonly look: string
  readonly a: Partial<Setting>
  readonly b: Partial<Setting>
  /** Section of the guide to routing. */
  readonly section: string
}

export const lessons: readonly Lesson[] = [
  {
    title: 'One expert for each token',
    text:
      'A sparse layer has many feed-forward networks, the experts, and a router: a small matrix that scores the experts ' +
      'for each token. With top-1 a token is computed by its best expert only. So the model has the parameters of all ' +
      'experts, at the cost of one. The dense model beside it has one network for all tokens.',
    look: 'Compare the losses. In the text below, point at words: which kinds of words go to the same expert?',
    a: { router: 'top-k', k: 1 },
    b: { router: 'dense' },
    section: 'top-k',
  },
  {
    title: 'More experts for each token: top-k',
    text:
      'With top-2 a token is computed by its two best experts, and the results are added, weighted by the router. That ' +
      'is twice the work of top-1.',
    look: 'Compare the losses, and the tokens per second.',
    a: { router: 'top-k', k: 1 },
    b: { router: 'top-k', k: 2 },
    section: 'top-k',
  },
  {
    title: 'Capacity and drops',
    text:
      'On real hardware an expert has room for a fixed number of tokens, its capacity: the even share times a factor. ' +
      'Tokens beyond it are dropped: the layer passes them on unchanged. A small factor saves work and memory.',
    look: 'Drop rate; and the heat map before drops and after: full experts are cut at their capacity.',
    a: { factor: 0.5 },
    b: { factor: 2 },
    section: 'capacity',
  },
  {
    title: 'Balance',
    text:
      'Left alone, a router may send most tokens to few experts, and some experts get none. A balancing loss rewards ' +
      'even loads. The M6-T paper found that imbalance may matter little for the quality of a model; it does matter for ' +
      'the speed of a cluster.',
    look: 'The heat map: blue cells are experts with few tokens, orange ones are overloaded. Is the more even one better?',
    a: { balance: 0, capacity: 'none' },
    b: { balance: 0.1, capacity: 'none' },
    section: 'load-balancing-one-meaning',
  },
  {
    title: 'Prototypes: k top-1',
    text:
      'Expert prototyping, the proposal of M6-T: split the experts into Z groups, each with its own router. Each token ' +
      'takes the best expert of every group. 2 top-1 costs as much as top-2, but the two choices are made apart, so ' +
      'that no second best is needed.',
    look: 'Both activate two experts. In the heat map order by prototype; colour the text by one, then by the other.',
    a: { router: 'top-k', k: 2 },
    b: { router: 'prototype', prototypes: 2, k: 1 },
    section: 'prototype',
  },
  {
    title: 'Must routing be learned?',
    text:
      'A hash router sends each token of the vocabulary to a fixed expert, drawn once. Nothing is learned, and loads ' +
      'depend on the text alone. It is the witness: what a learned router gains must show against it.',
    look: 'Compare the losses, and the experts of the same word at different places.',
    a: { router: 'top-k', k: 1 },
    b: { router: 'hash', k: 1 },
    section: 'hash',
  },
]

export const settingOf = (partial: Partial<Setting>): Setting => ({ ...defaultSetting, ...partial })
