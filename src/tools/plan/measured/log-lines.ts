/** Lines of the logs of jobs. */

/** A line without the rank that `srun -l` (`0: `) or `mpirun --tag-output` (`[1,0]<stdout>:`) put before it. */
export const untagged = (line: string): string => line.replace(/^\s*(\d+:|\[\d+,\d+\]<std\w+>:)/, '').trim()
