/** Names of what is routed, between the witness and the model. */
import type { RoutedModule } from '../../src/model/parameters.ts'
import { choicesName } from '../../src/model/transformer.ts'
import type { Routed } from '../witness/model.ts'

const parts = (what: Routed): [layer: number, module: RoutedModule] => {
  const [layer, module = 'ffn'] = String(what).split('.')
  return [Number(layer), module as RoutedModule]
}

/** The input with the choices of a random router. */
export const choicesOf = (what: Routed): string => choicesName(...parts(what))

/** What the witness calls a module of a layer. */
export const routedOf = ({ layer, module }: { readonly layer: number; readonly module: RoutedModule }): Routed =>
  module === 'ffn' ? layer : `${layer}.${module}`
