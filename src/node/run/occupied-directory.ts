import { UsageError } from '../../core/errors.ts'

/**
 * Error if the directory of a new run already holds a run. The class has a file of its own, since a command that
 * catches it needs little else of this floor.
 */
export class OccupiedDirectory extends UsageError {}
