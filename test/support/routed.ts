/** Converts the names of routed modules between witness and model. */
import type { RoutedModule } from '../../src/core/model/config/moe-config.ts'
import { choicesName } from '../../src/core/model/transformer.ts'
import type { Routed } from '../witness/model.ts'

const parts = (routed: Routed): [layer: number, module: RoutedModule] => {
  const [layer, module = 'ffn'] = String(routed).split('.')
  return [Number(layer), module as RoutedModule]
}

/** Name of the input with the choices of a random router. */
export const choicesOf = (routed: Routed): string => choicesName(...parts(routed))

/** The name of a module of a layer in the witness. */
export const routedOf = ({ layer, module }: { readonly layer: number; readonly module: RoutedModule }): Routed =>
  module === 'ffn' ? layer : `${layer}.${module}`
