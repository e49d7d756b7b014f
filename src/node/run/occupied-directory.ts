import { UsageError } from '../../core/errors.ts'

/** The directory of a new run already holds one. In a file of its own, since a command needs little else of this floor. */
export class OccupiedDirectory extends UsageError {}
