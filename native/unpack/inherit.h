#pragma once

/*
 * Directories that a layer has only because something lies in them take owner, mode, extended attributes and
 * time of those they stand for in the layers below. Paths, each ended by a NUL, come from descriptor 0; '' is
 * the root.
 */

/* `target` and `source` are roots; a directory that the source does not have stays as it is. */
void inherit_run(int target, int source);
