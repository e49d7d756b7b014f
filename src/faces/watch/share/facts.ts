/** The configuration of a run in a few lines for people who do not know Choir's settings. */
import { grouped, plural } from '../../../core/text/numbers.ts'
import type { FlatConfig, RoutingIndex } from '../api.ts'

type Fact = readonly [name: string, value: string]

/** @param config Settings by path, such as `model.layers`; empty for a trace, which has none */
export function factsOf(config: FlatConfig, { routers, experts }: Pick<RoutingIndex, 'routers' | 'experts'>): Fact[] {
  const text = (path: string): string | null => {
    const value = config[path]
    return value === undefined || value === null || value === '' ? null : String(value)
  }
  const number = (path: string): number | null => {
    const value = config[path]
    return typeof value === 'number' ? value : null
  }
  const hidden = number('model.moe.hidden')
  const wide = hidden === null ? '' : `, each ${grouped(hidden)} wide`
  const facts: Fact[] = [
    ['Experts', `${experts}${wide}, in each of ${plural(new Set(routers.map(({ layer }) => layer)).size, 'layer')}`],
  ]
  const width = number('model.width')
  const layers = number('model.layers')
  if (layers !== null && width !== null) facts.push(['Model', `${plural(layers, 'layer')}, ${grouped(width)} wide`])
  const router = text('model.moe.router')
  if (router !== null) facts.push(['Router', routerText(router, number('model.moe.prototypes'), number('model.moe.k'))])
  const balance = number('model.moe.balance.coefficient')
  if (balance !== null) facts.push(['Balancing loss', balance === 0 ? 'off' : `coefficient ${balance}`])
  const [capacity, factor] = [text('model.moe.capacity'), number('model.moe.factor')]
  if (capacity !== null) facts.push(['Capacity of an expert', capacityText(capacity, factor ?? 1)])
  const [steps, batch, sequence] = [number('train.steps'), number('train.batch'), number('model.sequence')]
  if (steps !== null && batch !== null && sequence !== null)
    facts.push(['Training', `${plural(steps, 'step')} of ${plural(batch * sequence, 'token')}`])
  const source = text('data.source')
  if (source !== null) facts.push(['Text', source.split(',').map(withoutFolders).join(', ')])
  const [rate, seed] = [number('train.schedule.learningRate'), number('train.seed')]
  if (rate !== null) facts.push(['Learning rate', `${rate}${seed === null ? '' : `, seed ${seed}`}`])
  return facts
}

function routerText(router: string, prototypes: number | null, k: number | null): string {
  if (router === 'switch') return 'switch: one expert for each token'
  if (router === 'prototype') return `${plural(prototypes ?? 1, 'prototype')}, top-${k ?? 1} in each`
  return `${withoutFolders(router)}, ${plural(k ?? 1, 'expert')} for each token`
}

function capacityText(capacity: string, factor: number): string {
  if (capacity === 'none') return 'unlimited'
  return capacity === 'kx' ? `${factor} times its fair share` : `${factor} × tokens over experts`
}

/** The last part of a path. Whoever gets the page does not learn where files lie on the machine that made it. */
const withoutFolders = (path: string): string => path.split(/[\\/]/).filter(Boolean).at(-1) ?? path
