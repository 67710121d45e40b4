// Written by `npm run generate` from the gateway's OpenAPI document.

export interface paths {
    readonly "/admin/audit": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** What was asked for that somebody may have to answer for, the oldest first */
        readonly get: operations["list_audit"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/contexts": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /**
         * Contexts of all owners to which something is to happen, the oldest first
         * @description Metadata only: never a title, a message or an argument. A page may be short, or empty, though there are more: follow Link.
         */
        readonly get: operations["list_at_work"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/contexts/{id}": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** A context of any owner in depth, without what is said in it */
        readonly get: operations["inspect_context"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/contexts/{id}/cancel": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Stop the turn that runs, as the owner's action `cancel` does */
        readonly post: operations["cancel_context"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/contexts/{id}/compact": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /**
         * Have the state take the place of most of a log, as soon as the context rests
         * @description Whoever owns the context does it, under its own token. The events are gone; versions and messages stay.
         */
        readonly post: operations["compact_context"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/contexts/{id}/requeue": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Have a context activated; where somebody has it, nothing changes */
        readonly post: operations["requeue_context"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/dead_letters": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** What was given up, newest first */
        readonly get: operations["list_dead_letters"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/dead_letters/{letter_id}": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        readonly post?: never;
        /** Forget a dead letter */
        readonly delete: operations["drop_dead_letter"];
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/dead_letters/{letter_id}/retry": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Deliver a dead letter's action, or its webhook, once more */
        readonly post: operations["retry_dead_letter"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/dead_letters/drop": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Forget the dead letters that fit, the oldest first */
        readonly post: operations["drop_dead_letters"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/dead_letters/retry": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Retry the dead letters that fit, the oldest first */
        readonly post: operations["retry_dead_letters"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/drain": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /**
         * End processes, and have nothing take their place until the next restart
         * @description For maintenance, for fewer processes, for a bad machine. Gateways one at a time; the one that answers is never drained, so that one is left. Reported as a restart is.
         */
        readonly post: operations["drain"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/processes": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** Gateways and workers that report, and what a drain knows them by */
        readonly get: operations["list_processes"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/restart": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /**
         * Restart the processes: each new one serves before the old one drains
         * @description Answered before anything stops. Streams get a `bye` and go on elsewhere. What was drained comes back.
         */
        readonly post: operations["restart"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/restarts/{restart_id}": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** How far a restart or drain has come */
        readonly get: operations["get_restart"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/retention": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** What retention would delete now, without doing it */
        readonly get: operations["get_retention"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/admin/workers": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** Workers that nobody has buried */
        readonly get: operations["list_workers"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/actions/{action_id}": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** What became of an action */
        readonly get: operations["get_action"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/chat/{mode}": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /**
         * Ask a question; what is found for it in your contexts and notes goes with it
         * @description `text` looks nothing up, `semantic` what shares words with the query, `graph` what that hangs together with, `deep` both, and what was spoken of lately. Without a session the question and its answer are forgotten.
         */
        readonly post: operations["ask"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/chat/deep/stream": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Ask a question in mode `deep`; the answer comes as it is made */
        readonly post: operations["ask_streamed"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/chat/session/{session_id}": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        readonly post?: never;
        /** Delete a session and all that is kept of it */
        readonly delete: operations["delete_session"];
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/chat/title": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** A title for messages or a text; without a model, how it begins */
        readonly post: operations["make_title"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** Your contexts, newest first */
        readonly get: operations["list_contexts"];
        readonly put?: never;
        /**
         * Make a context, perhaps with its first message in the same atomic step
         * @description 404 only where a repeat finds that the context was deleted meanwhile.
         */
        readonly post: operations["create_context"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** A context, whole */
        readonly get: operations["get_context"];
        readonly put?: never;
        readonly post?: never;
        /** Delete a context: the action delete, by its method */
        readonly delete: operations["delete_context"];
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/answer": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Answer what the model asked */
        readonly post: operations["answer"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/approve_tools": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Decide on tool calls that wait for a person */
        readonly post: operations["approve_tools"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/cancel": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Stop the running turn; the partial reply stays, marked cancelled */
        readonly post: operations["cancel"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/configure": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Patch the configuration (RFC 7396); in force from the next model call */
        readonly post: operations["configure"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/create_branch": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Give a line through the tree a name; the active branch stays active */
        readonly post: operations["create_branch"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/delete": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Delete the context and all that is kept of it */
        readonly post: operations["delete"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/edit_message": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Say something else in a message's place; runs a turn, the old line is kept */
        readonly post: operations["edit_message"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/fork": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /**
         * Make a new context of this one, as it is or as it was at a version
         * @description The new context has all of the log up to there. What was running then is cancelled in it, and what waited is left out.
         */
        readonly post: operations["fork"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/generate_title": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Have the model make a title; without one it is how the conversation begins */
        readonly post: operations["generate_title"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/merge_branch": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Bring to the active branch what another has of its own */
        readonly post: operations["merge_branch"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/pause": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Start nothing more until resumed */
        readonly post: operations["pause"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/pin": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Keep the context from retention and expiry */
        readonly post: operations["pin"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/record_messages": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Add messages that came about elsewhere; no turn begins */
        readonly post: operations["record_messages"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/regenerate": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Ask for another alternative of a reply */
        readonly post: operations["regenerate"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/rename": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Give the context another title */
        readonly post: operations["rename"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/request_turn": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Add messages that came about elsewhere, and have the model answer them */
        readonly post: operations["request_turn"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/reset": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Give up the turn that failed */
        readonly post: operations["reset"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/resume": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Go on where it was paused */
        readonly post: operations["resume"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/retry": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Make the model call that failed again, now */
        readonly post: operations["retry"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/send_message": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Say something; starts a turn, or does as its policy says while one runs */
        readonly post: operations["send_message"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/switch_branch": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Go on on another branch, or along another line */
        readonly post: operations["switch_branch"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/unpin": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Let the context go when its time comes */
        readonly post: operations["unpin"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/actions/update_queue": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** Edit, remove and move messages that wait */
        readonly post: operations["update_queue"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/events": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /**
         * Stream a context: server-sent events from a cursor on
         * @description Begins with `hello`; without a cursor a `snapshot` follows, with one what has happened since, or one `reset` where that cannot be told. `id` is a cursor: a stream resumed with it, on any gateway, gives the same text as one never cut.
         */
        readonly get: operations["stream_events"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/export": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** The whole log as one document, always the same bytes */
        readonly get: operations["export_context"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/log": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** Committed events by version */
        readonly get: operations["get_log"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/messages": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** Messages of a branch, by their numbers */
        readonly get: operations["list_messages"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/messages/{message_id}": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** One message, on whichever branch it lies */
        readonly get: operations["get_message"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/state": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /**
         * Poll a context
         * @description A poll after a 2xx to an action shows that action. Most polls are answered 304 without loading the context.
         */
        readonly get: operations["get_state"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/turns": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** A row for each turn of the active branch */
        readonly get: operations["list_turns"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/{id}/ws": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /**
         * The stream of a context as a WebSocket, with actions on it
         * @description Send `{action, body, idempotency_key?, if_version?, ref?}`; each is answered by an `action-result` with its `ref` and `idempotency_key`: `status`, and `action` or `problem`. Actions of one socket are delivered in their order. Closed with 1012 when the gateway stops (go on elsewhere), 1013 for a client that does not read.
         */
        readonly get: operations["open_socket"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/contexts/import": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /**
         * Make a context of an export
         * @description The whole log is replayed before anything is kept: what the machine would not have accepted is 422, with the event's number. The copy has another id and owner, the same messages under the same ids, and comes to rest: nothing is done twice.
         */
        readonly post: operations["import_context"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/events": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /**
         * Stream several contexts on one connection
         * @description As the stream of one context; `data` is `{context_id, cursor, data}`, and `id` holds the cursors of all contexts in the order asked for, so that one Last-Event-ID resumes each. Ends when the last of them is deleted.
         */
        readonly get: operations["stream_many"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/limits": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** What you may, and what you have used of it */
        readonly get: operations["get_limits"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/notes": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** Your notes, newest first */
        readonly get: operations["list_notes"];
        readonly put?: never;
        /** Keep a note, to be found by searches */
        readonly post: operations["add_note"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/notes/{note_id}": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        readonly post?: never;
        /** Forget a note */
        readonly delete: operations["delete_note"];
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/api/tickets": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly get?: never;
        readonly put?: never;
        /** A ticket that opens one stream, where no header can be set */
        readonly post: operations["issue_ticket"];
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/health": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** The process answers (alias of /healthz) */
        readonly get: operations["health"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/healthz": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** The process answers */
        readonly get: operations["healthz"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/problems/{name}": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** What a type of problem means; a page, where HTML is asked for */
        readonly get: operations["get_problem_type"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
    readonly "/readyz": {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        /** Whether requests would succeed */
        readonly get: operations["readyz"];
        readonly put?: never;
        readonly post?: never;
        readonly delete?: never;
        readonly options?: never;
        readonly head?: never;
        readonly patch?: never;
        readonly trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description Why an action was refused. */
        readonly ActionProblem: {
            readonly detail: string | null;
            readonly type: string;
        };
        /** @description The state, and the action if there was one; all null with `respond-async`. */
        readonly ActionResponse: {
            readonly action: components["schemas"]["ActionView"] | null;
            readonly context: components["schemas"]["ContextView"] | null;
            readonly status: components["schemas"]["Phase"] | null;
            readonly version: number | null;
        };
        /** @description What became of an action. */
        readonly ActionStatus: {
            readonly context_id: string;
            readonly id: string;
            readonly problem: components["schemas"]["ActionProblem"] | null;
            /** @enum {string} */
            readonly result: "waiting" | "applied" | "refused";
            readonly version: number | null;
        };
        /** @description The action that was answered; `result` is null while it waits. */
        readonly ActionView: {
            readonly id: string;
            readonly result: "applied" | null;
            readonly version: number | null;
        };
        /** @description Keep a note, to be found by searches. */
        readonly AddNote: {
            readonly text: string;
        };
        /** @description A context that retention would delete: nobody has changed it since `touched_at`. */
        readonly AgedContext: {
            readonly id: string;
            readonly owner: string;
            readonly status: components["schemas"]["Phase"];
            readonly touched_at: string;
            readonly version: number;
        };
        /** @description How much there may be of something, and how much there is. */
        readonly Allowance: {
            readonly limit: number | null;
            readonly used: number;
        };
        /** @description A person has answered what the model asked. */
        readonly AnswerGiven: {
            readonly at_ms: number;
            /** @default  */
            readonly by?: string;
            readonly content: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "answer-given";
            readonly question_id: string;
        };
        /** @description Answer what the model asked. */
        readonly AnswerQuestion: {
            readonly content: string;
            readonly question_id: string;
        };
        /** @description A person has decided on tool calls; calls that are not named stay pending. */
        readonly ApprovalGiven: {
            readonly at_ms: number;
            /** @default  */
            readonly by?: string;
            /** @default [] */
            readonly deny?: readonly components["schemas"]["Denial"][];
            /** @default {} */
            readonly edits?: {
                readonly [key: string]: string;
            };
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "approval-given";
            /** @default [] */
            readonly tool_call_ids?: readonly string[];
        };
        /** @description Decide on tool calls; those not named stay pending. */
        readonly ApproveTools: {
            /** @default [] */
            readonly deny?: readonly components["schemas"]["Deny"][];
            /** @default {} */
            readonly edits?: {
                readonly [key: string]: {
                    readonly [key: string]: components["schemas"]["JsonValue"];
                };
            };
            /** @default [] */
            readonly tool_call_ids?: readonly string[];
        };
        /** @description Ask a question; what is found for it goes to the model with it. */
        readonly Ask: {
            /** @default null */
            readonly context?: string | null;
            /** @default [] */
            readonly history?: readonly components["schemas"]["Recorded"][];
            /** @default null */
            readonly model?: string | null;
            readonly query: string;
            /** @default null */
            readonly session_id?: string | null;
            /** @default false */
            readonly skip_memory?: boolean;
        };
        /** @description Have a title made, of messages or of a text. */
        readonly AskTitle: {
            /** @default [] */
            readonly messages?: readonly components["schemas"]["Recorded"][];
            /** @default null */
            readonly text?: string | null;
        };
        /** @description Something that comes with a message. */
        readonly Attachment: {
            readonly name: string;
            /** @default null */
            readonly text?: string | null;
            /** @enum {string} */
            readonly type: "text" | "file_reference";
            /** @default null */
            readonly url?: string | null;
        };
        /** @description Records, the oldest first. */
        readonly AuditPage: {
            readonly records: readonly components["schemas"]["AuditRecordView"][];
            readonly unreadable: readonly number[];
        };
        /** @description Something that was asked for, or what came of it. */
        readonly AuditRecordView: {
            readonly address: string;
            readonly at: string;
            readonly before: string;
            readonly by: string;
            readonly decisions: readonly components["schemas"]["DecisionView"][];
            readonly digest: string;
            readonly name: string;
            readonly number: number;
            readonly of: number | null;
            /** @enum {string} */
            readonly outcome: "asked" | "done" | "failed";
            readonly owner: string;
            readonly target: string;
        };
        /** @description Another line through the tree has got a name. */
        readonly BranchCreated: {
            readonly at_ms: number;
            /** @default null */
            readonly from_message_id?: string | null;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "branch-created";
            readonly name: string;
            /** @default null */
            readonly system_prompt?: string | null;
        };
        /** @description What another branch has of its own is on the active one, too. */
        readonly BranchMerged: {
            /** @default false */
            readonly accept_conflicts?: boolean;
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "branch-merged";
            /** @default [] */
            readonly message_ids?: readonly string[];
            readonly source: string;
            /**
             * @default append
             * @enum {string}
             */
            readonly strategy?: "append" | "cherry_pick" | "rebase";
        };
        /** @description The conversation goes on elsewhere in the tree. */
        readonly BranchSwitched: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "branch-switched";
            /** @default null */
            readonly message_id?: string | null;
            /** @default null */
            readonly name?: string | null;
        };
        /** @description A named line through the message tree. */
        readonly BranchView: {
            readonly head: string | null;
            readonly system_prompt: string | null;
        };
        /** @description Last event of a stream that the gateway ends; connect again after `retry_ms`. */
        readonly ByeData: {
            readonly reason: string;
            readonly retry_ms: number;
        };
        /** @description Stop the running turn. */
        readonly Cancel: {
            /** @default null */
            readonly turn_id?: string | null;
        };
        /** @description A cancel is in the mailbox, as if the owner had sent it. */
        readonly CancelDelivered: {
            readonly action_id: string;
            readonly id: string;
        };
        /** @description The user wants the running turn stopped. */
        readonly CancelRequested: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "cancel-requested";
            /** @default null */
            readonly message_id?: string | null;
            /** @default  */
            readonly partial?: string;
            /** @default null */
            readonly turn_id?: string | null;
        };
        /** @description The answer to a question, and what was found for it. */
        readonly ChatAnswer: {
            readonly graph_data: components["schemas"]["Graph"] | null;
            readonly latency_ms: number;
            readonly model: string | null;
            /** @enum {string} */
            readonly query_type: "text" | "semantic" | "graph" | "deep";
            readonly response: string;
            readonly sources: readonly components["schemas"]["Reference"][];
        };
        /** @description Some more text of an answer that is arriving; another id begins the text anew. */
        readonly ChatChunk: {
            readonly message_id: string;
            readonly text: string;
        };
        /** @description Server-sent events without ids: any number of `chunk`, then `done` with the whole answer, or `error`; `data` is JSON. Comments are sent when nothing happens. */
        readonly ChatStream: {
            readonly data: string;
            /** @enum {string} */
            readonly event: "chunk" | "done" | "error";
        };
        /** @description A tool that whoever asks runs: its calls wait for an answer, like questions. */
        readonly ClientTool: {
            /** @default  */
            readonly description?: string;
            readonly name: string;
            /** @default {} */
            readonly parameters?: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
            /** @default null */
            readonly strict?: boolean | null;
        };
        /** @description The log will be compacted as soon as the context rests. */
        readonly CompactionAsked: {
            readonly id: string;
            readonly keep_events: number;
            /** @enum {string} */
            readonly status: "asked" | "short";
        };
        /** @description Have the state take the place of most of a log. */
        readonly CompactOrder: {
            /** @default 100 */
            readonly keep_events?: number;
        };
        /** @description What the owner may configure, merged by RFC 7396 patches. */
        readonly Config: {
            /** @default [] */
            readonly client_tools?: readonly components["schemas"]["ClientTool"][];
            /**
             * @default {
             *       "rounds_max": 5,
             *       "tools_max": 20,
             *       "turn_s_max": 300,
             *       "queue_max": 100,
             *       "attempts_max": 4,
             *       "tool_starts_max": 3,
             *       "backoff_ms_base": 500,
             *       "backoff_ms_max": 30000,
             *       "approval_s_max": 604800,
             *       "history_tokens_max": 100000,
             *       "branches_max": 100
             *     }
             */
            readonly limits?: components["schemas"]["Limits"];
            /** @default text */
            readonly mode?: string;
            /** @default null */
            readonly model?: string | null;
            /**
             * @default restart
             * @enum {string}
             */
            readonly on_takeover?: "restart" | "keep";
            /** @default {} */
            readonly parameters?: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
            /** @default [] */
            readonly retrieval?: readonly string[];
            /** @default null */
            readonly role?: string | null;
            /**
             * @default enqueue
             * @enum {string}
             */
            readonly send_policy?: "enqueue" | "reject" | "interrupt" | "rollback" | "steer" | "merge" | "latest";
            /** @default  */
            readonly system_prompt?: string;
            /**
             * @default {
             *       "mode": "manual",
             *       "allowed": []
             *     }
             */
            readonly tool_policy?: components["schemas"]["ToolPolicy"];
            /** @default null */
            readonly tools?: readonly string[] | null;
        };
        /** @description Fields that are not named stay; null restores the default. */
        readonly ConfigPatch: {
            readonly client_tools?: readonly components["schemas"]["ClientTool"][] | null;
            readonly limits?: components["schemas"]["Limits"] | null;
            readonly mode?: string | null;
            readonly model?: (string | null) | null;
            readonly on_takeover?: ("restart" | "keep") | null;
            readonly parameters?: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            } | null;
            readonly retrieval?: readonly string[] | null;
            readonly role?: (string | null) | null;
            readonly send_policy?: ("enqueue" | "reject" | "interrupt" | "rollback" | "steer" | "merge" | "latest") | null;
            readonly system_prompt?: string | null;
            readonly tool_policy?: components["schemas"]["ToolPolicy"] | null;
            readonly tools?: (readonly string[] | null) | null;
        };
        /** @description Something that both sides of a merge have in the same place. */
        readonly Conflict: {
            /** @enum {string} */
            readonly kind: "alternatives" | "system_prompt";
            readonly ours: string;
            readonly theirs: string;
        };
        /** @description The configuration has been patched (RFC 7396); in force from the next model call. */
        readonly ContextConfigured: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "context-configured";
            readonly patch: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
        };
        /** @description The first event of every log. */
        readonly ContextCreated: {
            readonly at_ms: number;
            /**
             * @default {
             *       "model": null,
             *       "mode": "text",
             *       "role": null,
             *       "system_prompt": "",
             *       "parameters": {},
             *       "tools": null,
             *       "client_tools": [],
             *       "tool_policy": {
             *         "allowed": [],
             *         "mode": "manual"
             *       },
             *       "send_policy": "enqueue",
             *       "retrieval": [],
             *       "on_takeover": "restart",
             *       "limits": {
             *         "approval_s_max": 604800,
             *         "attempts_max": 4,
             *         "backoff_ms_base": 500,
             *         "backoff_ms_max": 30000,
             *         "branches_max": 100,
             *         "history_tokens_max": 100000,
             *         "queue_max": 100,
             *         "rounds_max": 5,
             *         "tool_starts_max": 3,
             *         "tools_max": 20,
             *         "turn_s_max": 300
             *       }
             *     }
             */
            readonly config?: components["schemas"]["Config"];
            readonly context_id: string;
            /** @default null */
            readonly expires_ms?: number | null;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "context-created";
            /** @default {} */
            readonly labels?: {
                readonly [key: string]: string;
            };
            /** @default [] */
            readonly origins?: readonly components["schemas"]["Origin"][];
            readonly owner: string;
            /** @default  */
            readonly title?: string;
        };
        /** @description The last event of a log; the log is deleted with it. */
        readonly ContextDeleted: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "context-deleted";
        };
        /** @description A whole log; what `import` takes. */
        readonly ContextExport: {
            /** @default null */
            readonly base?: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            } | null;
            readonly context_id: string;
            readonly events: readonly (components["schemas"]["ContextCreated"] | components["schemas"]["MessageReceived"] | components["schemas"]["MessageEdited"] | components["schemas"]["RegenerateRequested"] | components["schemas"]["QueueUpdated"] | components["schemas"]["BranchCreated"] | components["schemas"]["BranchSwitched"] | components["schemas"]["BranchMerged"] | components["schemas"]["MessagesRecorded"] | components["schemas"]["TurnRequested"] | components["schemas"]["ApprovalGiven"] | components["schemas"]["AnswerGiven"] | components["schemas"]["CancelRequested"] | components["schemas"]["RetryRequested"] | components["schemas"]["ResetRequested"] | components["schemas"]["PauseRequested"] | components["schemas"]["ResumeRequested"] | components["schemas"]["ContextConfigured"] | components["schemas"]["ContextRenamed"] | components["schemas"]["TitleRequested"] | components["schemas"]["ContextPinned"] | components["schemas"]["ContextUnpinned"] | components["schemas"]["ContextDeleted"] | components["schemas"]["RequestPrepared"] | components["schemas"]["ReplyStarted"] | components["schemas"]["ReplyEnded"] | components["schemas"]["ReplyFailed"] | components["schemas"]["ReplyRestarted"] | components["schemas"]["ToolReturned"] | components["schemas"]["ToolFailed"] | components["schemas"]["ToolRestarted"] | components["schemas"]["WorkAbandoned"] | components["schemas"]["TitleMade"] | components["schemas"]["TimePassed"] | components["schemas"]["RetryDue"])[];
            /** @constant */
            readonly format: "contextd-export/1";
            readonly version: number;
        };
        /** @description A page of contexts, newest first; the header Link leads to the next. */
        readonly ContextList: {
            readonly contexts: readonly components["schemas"]["ContextSummary"][];
            readonly unreadable: readonly string[];
        };
        /** @description Retention passes the context over. */
        readonly ContextPinned: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "context-pinned";
        };
        /** @description The context has got another title. */
        readonly ContextRenamed: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "context-renamed";
            readonly title: string;
        };
        /** @description What a list shows of a context. */
        readonly ContextSummary: {
            readonly created_at: string;
            /** @default null */
            readonly cursor?: string | null;
            readonly id: string;
            readonly pinned: boolean;
            readonly status: components["schemas"]["Phase"];
            readonly title: string;
            readonly updated_at: string;
            readonly version: number;
        };
        /** @description Retention takes the context as any other. */
        readonly ContextUnpinned: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "context-unpinned";
        };
        /** @description The complete state of a context. */
        readonly ContextView: {
            readonly active_branch: string;
            readonly alternatives: {
                readonly [key: string]: readonly string[];
            };
            readonly branches: {
                readonly [key: string]: components["schemas"]["BranchView"];
            };
            readonly config: components["schemas"]["Config"];
            readonly created_at: string;
            readonly cursor: string;
            readonly draft: components["schemas"]["DraftView"] | null;
            readonly error: components["schemas"]["ErrorView"] | null;
            readonly expires_at: string | null;
            readonly id: string;
            readonly labels: {
                readonly [key: string]: string;
            };
            readonly message_count: number;
            readonly messages: readonly components["schemas"]["MessageView"][];
            readonly origins: readonly components["schemas"]["Origin"][];
            readonly owner: string;
            readonly pending_questions: readonly components["schemas"]["QuestionView"][];
            readonly pending_tool_calls: readonly components["schemas"]["PendingToolCallView"][];
            readonly pinned: boolean;
            readonly queue: readonly components["schemas"]["QueueEntryView"][];
            readonly status: components["schemas"]["Phase"];
            readonly title: string;
            readonly turn_attempt: number | null;
            readonly turn_id: string | null;
            readonly updated_at: string;
            readonly usage: components["schemas"]["Usage"];
            readonly version: number;
        };
        /** @description Give a line through the tree a name. */
        readonly CreateBranch: {
            /** @default null */
            readonly from_message_id?: string | null;
            readonly name: string;
            /** @default null */
            readonly system_prompt?: string | null;
        };
        /** @description Make a context, perhaps with its first message in the same step. */
        readonly CreateContext: {
            /**
             * @default {
             *       "model": null,
             *       "mode": "text",
             *       "role": null,
             *       "system_prompt": "",
             *       "parameters": {},
             *       "tools": null,
             *       "client_tools": [],
             *       "tool_policy": {
             *         "allowed": [],
             *         "mode": "manual"
             *       },
             *       "send_policy": "enqueue",
             *       "retrieval": [],
             *       "on_takeover": "restart",
             *       "limits": {
             *         "approval_s_max": 604800,
             *         "attempts_max": 4,
             *         "backoff_ms_base": 500,
             *         "backoff_ms_max": 30000,
             *         "branches_max": 100,
             *         "history_tokens_max": 100000,
             *         "queue_max": 100,
             *         "rounds_max": 5,
             *         "tool_starts_max": 3,
             *         "tools_max": 20,
             *         "turn_s_max": 300
             *       }
             *     }
             */
            readonly config?: components["schemas"]["Config"];
            /** @default null */
            readonly expires_at?: string | null;
            /** @default {} */
            readonly labels?: {
                readonly [key: string]: string;
            };
            /** @default null */
            readonly message?: components["schemas"]["SendMessage"] | null;
            /** @default  */
            readonly title?: string;
        };
        /** @description A page of dead letters, newest first; the header Link leads on. */
        readonly DeadLetterList: {
            readonly count: number;
            readonly dead_letters: readonly components["schemas"]["DeadLetterView"][];
        };
        /** @description What was given up: it ended each worker that began it, or the webhook did not take it. */
        readonly DeadLetterView: {
            readonly action: string | null;
            readonly at_ms: number;
            readonly cause: string;
            readonly context_id: string;
            readonly event: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            } | null;
            readonly id: string;
            /** @default null */
            readonly webhook?: string | null;
        };
        /** @description What a person has decided about a tool call. */
        readonly DecisionView: {
            readonly call_id: string;
            readonly digest: string | null;
            readonly tool: string | null;
            /** @enum {string} */
            readonly verdict: "approved" | "denied" | "answered";
        };
        /** @description One tool call that a person does not want made. */
        readonly Denial: {
            readonly id: string;
            /** @default  */
            readonly reason?: string;
        };
        /** @description A tool call that is not to be made. */
        readonly Deny: {
            readonly id: string;
            /** @default  */
            readonly reason?: string;
        };
        /** @description The part of a reply that has arrived; `n` counts its characters. */
        readonly DraftView: {
            readonly attempt: number;
            readonly message_id: string;
            readonly n: number;
            readonly text: string;
        };
        /** @description End processes, and have nothing take their place until the next restart. */
        readonly DrainOrder: {
            /** @default false */
            readonly force?: boolean;
            /** @default null */
            readonly process?: string | null;
            /** @enum {string} */
            readonly scope: "gateways" | "workers";
        };
        /** @description One node's relation to another. */
        readonly Edge: {
            /** @enum {string} */
            readonly kind: "holds" | "follows" | "replaces" | "copy_of" | "ends_with" | "made_from";
            readonly source: string;
            readonly target: string;
        };
        /** @description Say something else in a message's place; the old one is kept beside it. */
        readonly EditMessage: {
            /** @default null */
            readonly client_message_id?: string | null;
            /** @description Text, or typed parts. */
            readonly content: string | readonly components["schemas"]["TextPart"][];
            readonly message_id: string;
            /** @default {} */
            readonly metadata?: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
        };
        /** @description An action that needs no details. */
        readonly Empty: Record<string, never>;
        /** @description Why the context is in `failed` or `transient_failure`. */
        readonly ErrorView: {
            readonly attempts: number;
            readonly code: string;
            readonly detail: string;
            readonly retry_at: string | null;
            readonly retryable: boolean;
        };
        /** @description One event as the streams show it. */
        readonly EventFrame: {
            readonly data: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
            readonly event: string;
            readonly id: string;
        };
        /** @description The events since a cursor. */
        readonly EventsPage: {
            readonly cursor: string;
            readonly events: readonly components["schemas"]["EventFrame"][];
            readonly status: components["schemas"]["Phase"];
            readonly version: number;
        };
        /**
         * @description Server-sent events. `event` names the kind; `data` is JSON:
         *
         *     * `hello`: `HelloData`
         *     * `snapshot`: `ContextView`
         *     * `reply-delta`: `ReplyDeltaData`
         *     * `reset`: `ResetData`
         *     * `bye`: `ByeData`
         *     * `context-created`: `ContextCreated`
         *     * `message-received`: `MessageReceived`
         *     * `message-edited`: `MessageEdited`
         *     * `regenerate-requested`: `RegenerateRequested`
         *     * `queue-updated`: `QueueUpdated`
         *     * `branch-created`: `BranchCreated`
         *     * `branch-switched`: `BranchSwitched`
         *     * `branch-merged`: `BranchMerged`
         *     * `messages-recorded`: `MessagesRecorded`
         *     * `turn-requested`: `TurnRequested`
         *     * `approval-given`: `ApprovalGiven`
         *     * `answer-given`: `AnswerGiven`
         *     * `cancel-requested`: `CancelRequested`
         *     * `retry-requested`: `RetryRequested`
         *     * `reset-requested`: `ResetRequested`
         *     * `pause-requested`: `PauseRequested`
         *     * `resume-requested`: `ResumeRequested`
         *     * `context-configured`: `ContextConfigured`
         *     * `context-renamed`: `ContextRenamed`
         *     * `title-requested`: `TitleRequested`
         *     * `context-pinned`: `ContextPinned`
         *     * `context-unpinned`: `ContextUnpinned`
         *     * `context-deleted`: `ContextDeleted`
         *     * `request-prepared`: `RequestPrepared`
         *     * `reply-started`: `ReplyStarted`
         *     * `reply-ended`: `ReplyEnded`
         *     * `reply-failed`: `ReplyFailed`
         *     * `reply-restarted`: `ReplyRestarted`
         *     * `tool-returned`: `ToolReturned`
         *     * `tool-failed`: `ToolFailed`
         *     * `tool-restarted`: `ToolRestarted`
         *     * `work-abandoned`: `WorkAbandoned`
         *     * `title-made`: `TitleMade`
         *     * `time-passed`: `TimePassed`
         *     * `retry-due`: `RetryDue`
         *
         *     Comments are sent when nothing happens. Ignore kinds you do not know.
         */
        readonly EventStream: string;
        /** @description Make a new context of this one as it was. */
        readonly Fork: {
            /** @default null */
            readonly at_version?: number | null;
            /** @default null */
            readonly title?: string | null;
        };
        /** @description A page of contexts; the header Link leads on, also where the page is short. */
        readonly GlanceList: {
            readonly complete: boolean;
            readonly contexts: readonly components["schemas"]["GlanceView"][];
        };
        /** @description A context, from outside. */
        readonly GlanceView: {
            readonly attempts: number;
            readonly changed_at: string | null;
            readonly due_at: string | null;
            readonly id: string;
            readonly mail: number;
            readonly oldest_mail_at: string | null;
            readonly owner: string;
            readonly status: components["schemas"]["Phase"] | "unreadable";
            readonly trouble: ("stuck" | "slow") | null;
            readonly version: number;
            readonly waits_since: string | null;
            readonly worker: string | null;
            readonly worker_lives: boolean;
        };
        /** @description Nodes and what is between them. */
        readonly Graph: {
            /** @default [] */
            readonly edges?: readonly components["schemas"]["Edge"][];
            /** @default [] */
            readonly nodes?: readonly components["schemas"]["Node"][];
        };
        /** @description First event of a stream; it has no id. */
        readonly HelloData: {
            readonly cursor: string;
            readonly epoch: string;
            readonly resumed: boolean;
        };
        /** @description One context in depth. */
        readonly InspectionView: {
            readonly branches: number;
            readonly context: components["schemas"]["GlanceView"];
            readonly created_at: string;
            readonly dead_letters: number;
            readonly draft_characters: number;
            readonly epoch: string;
            readonly failure: string | null;
            readonly job: string | null;
            readonly log: components["schemas"]["LogView"];
            readonly mailbox: components["schemas"]["MailboxView"];
            readonly messages: number;
            readonly notices: number;
            readonly pending: readonly components["schemas"]["PendingEffect"][];
            readonly queued: number;
            readonly ready_since: string | null;
            readonly retry_at: string | null;
            readonly token: number;
            readonly turn: components["schemas"]["TurnProgress"] | null;
        };
        readonly JsonValue: unknown;
        /** @description A letter that was not retried, and stays. */
        readonly LetterFailed: {
            readonly id: string;
            readonly problem: string;
        };
        /** @description The letter's action is delivered again; `action_id` is null for a webhook. */
        readonly LetterRetried: {
            readonly action_id: string | null;
            readonly id: string;
        };
        /** @description What became of the letters that fit. */
        readonly LettersHandled: {
            readonly done: number;
            readonly failed: readonly components["schemas"]["LetterFailed"][];
            readonly more: boolean;
        };
        /** @description Which dead letters, the oldest first; all of them only if that is said. */
        readonly LettersOrder: {
            /** @default null */
            readonly cause?: string | null;
            /** @default null */
            readonly context_id?: string | null;
            /** @default false */
            readonly everything?: boolean;
            /** @default null */
            readonly kind?: ("action" | "turn" | "webhook") | null;
            /** @default null */
            readonly limit?: number | null;
        };
        /** @description Bounds of a context, and of one turn of it. */
        readonly Limits: {
            /** @default 604800 */
            readonly approval_s_max?: number;
            /** @default 4 */
            readonly attempts_max?: number;
            /** @default 500 */
            readonly backoff_ms_base?: number;
            /** @default 30000 */
            readonly backoff_ms_max?: number;
            /** @default 100 */
            readonly branches_max?: number;
            /** @default 100000 */
            readonly history_tokens_max?: number;
            /** @default 100 */
            readonly queue_max?: number;
            /** @default 5 */
            readonly rounds_max?: number;
            /** @default 3 */
            readonly tool_starts_max?: number;
            /** @default 20 */
            readonly tools_max?: number;
            /** @default 300 */
            readonly turn_s_max?: number;
        };
        /** @description What you may, and what you have used of it. */
        readonly LimitsView: {
            readonly bytes_per_context: number | null;
            readonly contexts: components["schemas"]["Allowance"];
            readonly messages_per_context: number | null;
            readonly owner: string;
            readonly rates: {
                readonly [key: string]: components["schemas"]["RateView"];
            };
            readonly streams: components["schemas"]["Allowance"];
            readonly today_ends_at: string;
            readonly tokens_today: components["schemas"]["Allowance"];
            readonly turns: components["schemas"]["Allowance"];
        };
        /** @description The process answers. */
        readonly Liveness: {
            /** @constant */
            readonly status: "ok";
        };
        /** @description A committed event, and the version that it led to. */
        readonly LogEntry: {
            readonly event: components["schemas"]["ContextCreated"] | components["schemas"]["MessageReceived"] | components["schemas"]["MessageEdited"] | components["schemas"]["RegenerateRequested"] | components["schemas"]["QueueUpdated"] | components["schemas"]["BranchCreated"] | components["schemas"]["BranchSwitched"] | components["schemas"]["BranchMerged"] | components["schemas"]["MessagesRecorded"] | components["schemas"]["TurnRequested"] | components["schemas"]["ApprovalGiven"] | components["schemas"]["AnswerGiven"] | components["schemas"]["CancelRequested"] | components["schemas"]["RetryRequested"] | components["schemas"]["ResetRequested"] | components["schemas"]["PauseRequested"] | components["schemas"]["ResumeRequested"] | components["schemas"]["ContextConfigured"] | components["schemas"]["ContextRenamed"] | components["schemas"]["TitleRequested"] | components["schemas"]["ContextPinned"] | components["schemas"]["ContextUnpinned"] | components["schemas"]["ContextDeleted"] | components["schemas"]["RequestPrepared"] | components["schemas"]["ReplyStarted"] | components["schemas"]["ReplyEnded"] | components["schemas"]["ReplyFailed"] | components["schemas"]["ReplyRestarted"] | components["schemas"]["ToolReturned"] | components["schemas"]["ToolFailed"] | components["schemas"]["ToolRestarted"] | components["schemas"]["WorkAbandoned"] | components["schemas"]["TitleMade"] | components["schemas"]["TimePassed"] | components["schemas"]["RetryDue"];
            readonly version: number;
        };
        /** @description A part of a log; the header Link leads on. */
        readonly LogPage: {
            readonly events: readonly components["schemas"]["LogEntry"][];
            readonly version: number;
        };
        /** @description The log, and what stands for parts of it. */
        readonly LogView: {
            readonly base_version: number | null;
            readonly bytes: number;
            readonly compacts_to: number | null;
            readonly events: number;
            readonly first_version: number;
            readonly snapshot_lag: number;
            readonly snapshot_version: number;
        };
        /** @description The actions that wait. */
        readonly MailboxView: {
            readonly last_number: number;
            readonly oldest_action: string | null;
            readonly oldest_at: string | null;
            readonly waiting: number;
        };
        /** @description Bring to the active branch what another has of its own. */
        readonly MergeBranch: {
            /** @default false */
            readonly accept_conflicts?: boolean;
            /** @default [] */
            readonly message_ids?: readonly string[];
            readonly source: string;
            /**
             * @default append
             * @enum {string}
             */
            readonly strategy?: "append" | "cherry_pick" | "rebase";
        };
        /** @description The user wants to have said something else: a sibling, and a turn that answers it. */
        readonly MessageEdited: {
            readonly at_ms: number;
            /** @default null */
            readonly client_message_id?: string | null;
            readonly content: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "message-edited";
            readonly message_id: string;
            /** @default {} */
            readonly metadata?: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
            /** @default [] */
            readonly parts?: readonly {
                readonly [key: string]: components["schemas"]["JsonValue"];
            }[];
        };
        /** @description A page of messages of one branch; the header Link leads on. */
        readonly MessageList: {
            readonly branch: string;
            readonly messages: readonly components["schemas"]["MessageView"][];
        };
        /** @description The user has said something. */
        readonly MessageReceived: {
            readonly at_ms: number;
            /** @default null */
            readonly client_message_id?: string | null;
            readonly content: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "message-received";
            /** @default null */
            readonly message_id?: string | null;
            /** @default {} */
            readonly metadata?: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
            /** @default null */
            readonly not_before_ms?: number | null;
            /** @default  */
            readonly partial?: string;
            /** @default [] */
            readonly parts?: readonly {
                readonly [key: string]: components["schemas"]["JsonValue"];
            }[];
            /** @default {} */
            readonly patch?: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
            /** @default null */
            readonly policy?: ("enqueue" | "reject" | "interrupt" | "rollback" | "steer" | "merge" | "latest") | null;
        };
        /** @description Messages that came about elsewhere stand at the end of the active branch. */
        readonly MessagesRecorded: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "messages-recorded";
            readonly messages: readonly components["schemas"]["RecordedMessage"][];
        };
        /** @description One utterance; it never changes. */
        readonly MessageView: {
            readonly client_message_id: string | null;
            readonly content: string;
            readonly copy_of: string | null;
            readonly created_at: string;
            readonly finish_reason: string | null;
            readonly id: string;
            readonly metadata: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
            readonly model: string | null;
            readonly parent_id: string | null;
            readonly parts: readonly {
                readonly [key: string]: components["schemas"]["JsonValue"];
            }[];
            readonly replaces: string | null;
            /** @enum {string} */
            readonly role: "system" | "user" | "assistant" | "tool";
            readonly seq: number;
            /** @enum {string} */
            readonly status: "complete" | "cancelled" | "interrupted" | "failed";
            readonly tool_call_id: string | null;
            readonly tool_calls: readonly components["schemas"]["ToolCall"][];
            readonly usage: components["schemas"]["Usage"] | null;
        };
        /** @description A message, a branch or a context. */
        readonly Node: {
            readonly context_id: string;
            readonly id: string;
            /** @enum {string} */
            readonly kind: "context" | "branch" | "message";
            /** @default null */
            readonly message_id?: string | null;
            readonly name: string;
            /** @default null */
            readonly role?: ("system" | "user" | "assistant" | "tool") | null;
        };
        /** @description A page of notes, newest first; the header Link leads to the next. */
        readonly NoteList: {
            readonly notes: readonly components["schemas"]["NoteView"][];
        };
        /** @description A note. */
        readonly NoteView: {
            readonly created_at: string;
            readonly id: string;
            readonly text: string;
        };
        /** @description A context that another was made from, by fork or import. */
        readonly Origin: {
            readonly context_id: string;
            readonly version: number;
        };
        /** @description Start nothing more until resumed. */
        readonly PauseRequested: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "pause-requested";
        };
        /** @description Something that was asked of the world and is not answered. */
        readonly PendingEffect: {
            readonly id: string;
            readonly kind: string;
        };
        /** @description A tool call of the running turn that is not done. */
        readonly PendingToolCallView: {
            /** @enum {string} */
            readonly approval_status: "pending" | "outcome_unknown" | "approved";
            readonly arguments: string;
            readonly digest: string;
            readonly expires_at: string | null;
            readonly id: string;
            readonly name: string;
        };
        /**
         * @description Where the conversation is in its turn. The wire calls it `status`.
         * @enum {string}
         */
        readonly Phase: "idle" | "preparing_request" | "awaiting_llm_response" | "streaming_llm_response" | "awaiting_tool_approval" | "awaiting_answer" | "executing_tools" | "transient_failure" | "failed" | "paused" | "deleted";
        /** @description An error (RFC 9457). */
        readonly ProblemDocument: {
            /** @default [] */
            readonly allowed_actions?: readonly string[];
            /** @default null */
            readonly code?: string | null;
            /** @default [] */
            readonly conflicts?: readonly components["schemas"]["Conflict"][];
            readonly detail: string;
            /** @default null */
            readonly first_version?: number | null;
            /** @default null */
            readonly limit?: number | null;
            /** @default null */
            readonly phase?: components["schemas"]["Phase"] | null;
            /** @default null */
            readonly quota?: ("contexts" | "messages" | "bytes" | "turns" | "tokens") | null;
            readonly request_id: string;
            /** @default null */
            readonly retry_after_s?: number | null;
            readonly status: number;
            readonly title: string;
            /** @default null */
            readonly trace_id?: string | null;
            readonly type: string;
            /** @default null */
            readonly used?: number | null;
            /** @default null */
            readonly version?: number | null;
        };
        /** @description What a type of problem means and what to do about it. */
        readonly ProblemTypeView: {
            readonly advice: string;
            readonly status: number;
            readonly title: string;
            readonly type: string;
        };
        /** @description All processes that report. */
        readonly ProcessList: {
            readonly processes: readonly components["schemas"]["ProcessView"][];
        };
        /** @description What became of one process. */
        readonly ProcessRestart: {
            readonly duration_ms: number;
            readonly moved: number | null;
            /** @enum {string} */
            readonly outcome: "drained" | "killed" | "not replaced";
            readonly process_id: number | null;
            readonly replaced_by: number | null;
            /** @enum {string} */
            readonly role: "gateway" | "worker";
            readonly slot: number;
        };
        /** @description A gateway or worker that has reported lately. */
        readonly ProcessView: {
            readonly cpu: number;
            readonly draining: boolean;
            readonly id: string;
            readonly lag_ms: number;
            readonly load: {
                readonly [key: string]: number;
            };
            readonly memory_bytes: number;
            readonly name: string;
            readonly reported_at: string;
            /** @enum {string} */
            readonly role: "gateway" | "worker";
            readonly started_at: string;
        };
        /** @description What the model asks the person. */
        readonly QuestionView: {
            readonly arguments: string;
            readonly expires_at: string | null;
            readonly id: string;
            readonly name: string;
        };
        /** @description A message that waits for the running turn to end, or for its time. */
        readonly QueueEntryView: {
            readonly client_message_id: string | null;
            readonly content: string;
            readonly id: string;
            readonly not_before: string | null;
            /** @enum {string} */
            readonly policy: "enqueue" | "reject" | "interrupt" | "rollback" | "steer" | "merge" | "latest";
        };
        /** @description Messages that wait have been edited, removed and moved, in this order. */
        readonly QueueUpdated: {
            readonly at_ms: number;
            /** @default {} */
            readonly edit?: {
                readonly [key: string]: string;
            };
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "queue-updated";
            /** @default {} */
            readonly move?: {
                readonly [key: string]: number;
            };
            /** @default [] */
            readonly remove?: readonly string[];
        };
        /** @description How fast requests of one kind may come. */
        readonly RateView: {
            readonly burst: number;
            readonly left: number;
            readonly per_minute: number;
        };
        /** @description Whether requests would succeed, and what is missing if not. */
        readonly Readiness: {
            readonly draining: boolean;
            /** @enum {string} */
            readonly status: "ready" | "not ready";
            readonly store: components["schemas"]["StoreReadiness"];
            readonly workers: components["schemas"]["WorkersReadiness"];
        };
        /** @description A message that came about elsewhere. */
        readonly Recorded: {
            /** @default null */
            readonly client_message_id?: string | null;
            readonly content: string;
            /** @default null */
            readonly created_at?: string | null;
            /** @default null */
            readonly finish_reason?: string | null;
            /** @default {} */
            readonly metadata?: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
            /** @default null */
            readonly model?: string | null;
            /** @default null */
            readonly replaces?: string | null;
            /** @enum {string} */
            readonly role: "system" | "user" | "assistant" | "tool";
            /**
             * @default complete
             * @enum {string}
             */
            readonly status?: "complete" | "cancelled" | "interrupted" | "failed";
            /** @default null */
            readonly tool_call_id?: string | null;
            /** @default [] */
            readonly tool_calls?: readonly components["schemas"]["ToolCall"][];
        };
        /** @description A message that came about somewhere else. */
        readonly RecordedMessage: {
            /** @default null */
            readonly client_message_id?: string | null;
            readonly content: string;
            /** @default null */
            readonly created_at_ms?: number | null;
            /** @default null */
            readonly finish_reason?: string | null;
            /** @default {} */
            readonly metadata?: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
            /** @default null */
            readonly model?: string | null;
            /** @default [] */
            readonly parts?: readonly {
                readonly [key: string]: components["schemas"]["JsonValue"];
            }[];
            /** @default null */
            readonly replaces?: string | null;
            /** @enum {string} */
            readonly role: "system" | "user" | "assistant" | "tool";
            /**
             * @default complete
             * @enum {string}
             */
            readonly status?: "complete" | "cancelled" | "interrupted" | "failed";
            /** @default null */
            readonly tool_call_id?: string | null;
            /** @default [] */
            readonly tool_calls?: readonly components["schemas"]["ToolCall"][];
            /** @default null */
            readonly usage?: components["schemas"]["Usage"] | null;
        };
        /** @description Add messages that came about elsewhere; no turn begins. */
        readonly RecordMessages: {
            readonly messages: readonly components["schemas"]["Recorded"][];
        };
        /** @description Something a retriever found, shown to the model with the request. */
        readonly Reference: {
            /** @default null */
            readonly context_id?: string | null;
            /** @default null */
            readonly message_id?: string | null;
            /** @default null */
            readonly retriever?: string | null;
            /** @default null */
            readonly score?: number | null;
            readonly source: string;
            readonly text: string;
            readonly title: string;
        };
        /** @description Ask for another alternative of a reply. */
        readonly Regenerate: {
            /** @default null */
            readonly message_id?: string | null;
        };
        /** @description The user wants another alternative of a reply. */
        readonly RegenerateRequested: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "regenerate-requested";
            /** @default null */
            readonly message_id?: string | null;
        };
        /** @description Give the context another title. */
        readonly Rename: {
            readonly title: string;
        };
        /** @description Some more text of a reply, which has `n` characters with it. */
        readonly ReplyDeltaData: {
            readonly message_id: string;
            readonly n: number;
            readonly text: string;
        };
        /** @description The model has finished its reply, perhaps asking for tools. `text` is all of it. */
        readonly ReplyEnded: {
            readonly at_ms: number;
            readonly effect_id: string;
            /** @default stop */
            readonly finish_reason?: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "reply-ended";
            readonly message_id: string;
            /** @default {} */
            readonly metadata?: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
            /** @default null */
            readonly model?: string | null;
            readonly text: string;
            /** @default [] */
            readonly tool_calls?: readonly components["schemas"]["RequestedCall"][];
            /** @default null */
            readonly usage?: components["schemas"]["Usage"] | null;
        };
        /** @description The model call has failed. */
        readonly ReplyFailed: {
            readonly at_ms: number;
            readonly code: string;
            readonly detail: string;
            readonly effect_id: string;
            /** @default 0 */
            readonly jitter?: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "reply-failed";
            /** @default null */
            readonly message_id?: string | null;
            /** @default  */
            readonly partial?: string;
            /** @default null */
            readonly retry_after_ms?: number | null;
            readonly retryable: boolean;
        };
        /** @description Whoever made the model call is gone; its draft is dropped, or kept by config. */
        readonly ReplyRestarted: {
            readonly at_ms: number;
            readonly effect_id: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "reply-restarted";
            /** @default null */
            readonly message_id?: string | null;
            /** @default  */
            readonly partial?: string;
        };
        /** @description The first token of a reply has arrived. */
        readonly ReplyStarted: {
            readonly at_ms: number;
            readonly effect_id: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "reply-started";
            readonly message_id: string;
        };
        /** @description A tool call in a reply, with what the registry knows of the tool. */
        readonly RequestedCall: {
            readonly arguments: string;
            /** @default false */
            readonly dangerous?: boolean;
            /**
             * @default none
             * @enum {string}
             */
            readonly effect?: "none" | "idempotent" | "once";
            readonly id: string;
            readonly name: string;
            /** @default null */
            readonly problem?: string | null;
            /** @default false */
            readonly question?: boolean;
            /** @default false */
            readonly untrusted?: boolean;
        };
        /** @description The retrievers have answered, and the summary, where one was needed, is made. */
        readonly RequestPrepared: {
            readonly at_ms: number;
            readonly effect_id: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "request-prepared";
            /** @default [] */
            readonly references?: readonly components["schemas"]["Reference"][];
            /** @default null */
            readonly summary?: components["schemas"]["Summary"] | null;
        };
        /** @description Add messages that came about elsewhere, and have the model answer them. */
        readonly RequestTurn: {
            /** @default {} */
            readonly config?: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
            /** @default null */
            readonly follows?: string | null;
            readonly messages: readonly components["schemas"]["Recorded"][];
        };
        /** @description The context will be activated. */
        readonly Requeued: {
            readonly enqueued: boolean;
            readonly id: string;
        };
        /** @description The stream could not go on from the cursor: the whole state instead. */
        readonly ResetData: {
            readonly context: components["schemas"]["ContextView"];
            readonly reason: string;
        };
        /** @description Give the failed turn up. */
        readonly ResetRequested: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "reset-requested";
        };
        /** @description A restart or drain begins, or runs already. */
        readonly RestartAccepted: {
            readonly report_url: string;
            readonly restart_id: string;
            /** @enum {string} */
            readonly status: "restarting" | "draining";
        };
        /** @description Restart the processes. */
        readonly RestartOrder: {
            /** @default false */
            readonly force?: boolean;
            /**
             * @default all
             * @enum {string}
             */
            readonly scope?: "all" | "gateways" | "workers";
        };
        /** @description How far a restart or drain has come. */
        readonly RestartReport: {
            readonly force: boolean;
            /** @enum {string} */
            readonly kind: "restart" | "drain";
            readonly process: string | null;
            readonly requested_at_ms: number;
            readonly restart_id: string;
            /** @enum {string} */
            readonly scope: "all" | "gateways" | "workers";
            /** @enum {string} */
            readonly status: "requested" | "running" | "complete" | "failed";
            readonly supervisors: readonly components["schemas"]["SupervisorReport"][];
        };
        /** @description Go on where the context was paused. */
        readonly ResumeRequested: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "resume-requested";
        };
        /** @description What retention would delete now. */
        readonly RetentionPlan: {
            readonly before: string | null;
            readonly complete: boolean;
            readonly contexts: readonly components["schemas"]["AgedContext"][];
            readonly count: number;
            readonly days: number;
            readonly kept: {
                readonly [key: string]: number;
            };
        };
        /** @description The back-off is over. */
        readonly RetryDue: {
            readonly at_ms: number;
            readonly effect_id: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "retry-due";
        };
        /** @description Try the failed model call again, now. */
        readonly RetryRequested: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "retry-requested";
        };
        /** @description Say something; starts a turn, or waits for the running one to end. */
        readonly SendMessage: {
            /** @default [] */
            readonly attachments?: readonly components["schemas"]["Attachment"][];
            /** @default null */
            readonly client_message_id?: string | null;
            /** @description Text, or typed parts. */
            readonly content: string | readonly components["schemas"]["TextPart"][];
            /** @default {} */
            readonly metadata?: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
            /** @default null */
            readonly not_before?: string | null;
            /** @default null */
            readonly policy?: ("enqueue" | "reject" | "interrupt" | "rollback" | "steer" | "merge" | "latest") | null;
        };
        /** @description Whether the store answers, and what it keeps. */
        readonly StoreReadiness: {
            /** @enum {string} */
            readonly durability: "strict" | "standard";
            readonly epoch: string;
            /** @default null */
            readonly hint?: string | null;
            readonly ok: boolean;
            readonly replicas_min: number;
            /** @default null */
            readonly writes?: boolean | null;
        };
        /** @description What stands for the beginning of a line when the model is asked. */
        readonly Summary: {
            readonly text: string;
            readonly through_id: string;
        };
        /** @description What one supervisor has done so far. */
        readonly SupervisorReport: {
            /** @default [] */
            readonly processes?: readonly components["schemas"]["ProcessRestart"][];
            /** @default null */
            readonly reason?: string | null;
            /** @enum {string} */
            readonly status: "running" | "complete" | "failed";
            readonly supervisor: string;
        };
        /** @description Go on elsewhere: on another branch, or through another message. */
        readonly SwitchBranch: {
            /** @default null */
            readonly message_id?: string | null;
            /** @default null */
            readonly name?: string | null;
        };
        /** @description Text in a message of several parts. */
        readonly TextPart: {
            /** @default null */
            readonly text?: string | null;
            readonly type: string;
        } & {
            readonly [key: string]: unknown;
        };
        /** @description Opens one stream. */
        readonly TicketView: {
            readonly expires_at: string;
            readonly ticket: string;
        };
        /** @description Something that was to happen at a time is due: see `wakes_at_ms`. */
        readonly TimePassed: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "time-passed";
        };
        /** @description There is a title for the context. */
        readonly TitleMade: {
            readonly at_ms: number;
            readonly effect_id: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "title-made";
            readonly title: string;
        };
        /** @description The model is to make a title of what was said. */
        readonly TitleRequested: {
            readonly at_ms: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "title-requested";
        };
        /** @description A title, of at most 50 characters. */
        readonly TitleView: {
            readonly title: string;
        };
        /** @description One call that the model asked for, as it stands in the assistant's message. */
        readonly ToolCall: {
            readonly arguments: string;
            readonly id: string;
            readonly name: string;
        };
        /** @description A tool has raised, timed out or refused; the model is told. */
        readonly ToolFailed: {
            readonly at_ms: number;
            readonly code: string;
            readonly detail: string;
            readonly effect_id: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "tool-failed";
        };
        /** @description Which tool calls wait for a person. Tools marked dangerous always do. */
        readonly ToolPolicy: {
            /** @default [] */
            readonly allowed?: readonly string[];
            /**
             * @default manual
             * @enum {string}
             */
            readonly mode?: "manual" | "auto" | "allow_list" | "auto_loop";
        };
        /** @description Whoever ran the tool is gone, and with it the knowledge whether it ran. */
        readonly ToolRestarted: {
            readonly at_ms: number;
            readonly effect_id: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "tool-restarted";
        };
        /** @description A tool has answered. */
        readonly ToolReturned: {
            readonly at_ms: number;
            readonly content: string;
            readonly effect_id: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "tool-returned";
        };
        /** @description A page of turns of the active branch; the header Link leads on. */
        readonly TurnList: {
            readonly turns: readonly components["schemas"]["TurnView"][];
        };
        /** @description The turn that runs. */
        readonly TurnProgress: {
            readonly attempt: number;
            readonly id: string;
            readonly rounds: number;
            readonly started_at: string;
            readonly tools: number;
            readonly waiting_since: string | null;
        };
        /**
         * @description Messages that came about elsewhere are to be answered: one step, with how to ask.
         *
         *     A turn that waits for nothing but answers ends with it, as one that has failed does.
         */
        readonly TurnRequested: {
            readonly at_ms: number;
            /** @default null */
            readonly follows?: string | null;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "turn-requested";
            readonly messages: readonly components["schemas"]["RecordedMessage"][];
            /** @default {} */
            readonly patch?: {
                readonly [key: string]: components["schemas"]["JsonValue"];
            };
        };
        /** @description What was asked, and what came of it. */
        readonly TurnView: {
            readonly assistant_text: string;
            readonly created_at: string;
            readonly id: string;
            readonly seq: number;
            readonly status: ("complete" | "cancelled" | "interrupted" | "failed") | null;
            readonly tool_calls: number;
            readonly user_text: string;
        };
        /** @description Change what waits: edited first, then removed, then moved. */
        readonly UpdateQueue: {
            /** @default {} */
            readonly edit?: {
                readonly [key: string]: string;
            };
            /** @default {} */
            readonly move?: {
                readonly [key: string]: number;
            };
            /** @default [] */
            readonly remove?: readonly string[];
        };
        /** @description Tokens, as the model server counts them. */
        readonly Usage: {
            /** @default 0 */
            readonly completion_tokens?: number;
            /** @default 0 */
            readonly prompt_tokens?: number;
            /** @default 0 */
            readonly total_tokens?: number;
        };
        /**
         * @description What the context was to do has ended each worker that began it; it is given up.
         *
         *     Nobody asked for it and nothing is answered by it: a new owner finds that too many
         *     before it have come to nothing.
         */
        readonly WorkAbandoned: {
            /** @default null */
            readonly action?: string | null;
            readonly at_ms: number;
            readonly cause: string;
            readonly deaths: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            readonly kind: "work-abandoned";
            /** @default null */
            readonly message_id?: string | null;
            /** @default  */
            readonly partial?: string;
        };
        /** @description All workers, the oldest first. */
        readonly WorkerList: {
            readonly workers: readonly components["schemas"]["WorkerView"][];
        };
        /** @description How many workers there are. */
        readonly WorkersReadiness: {
            /** @default null */
            readonly count?: number | null;
            /** @default null */
            readonly hint?: string | null;
            readonly ok: boolean;
        };
        /** @description A worker that nobody has buried. */
        readonly WorkerView: {
            readonly contexts: number;
            readonly id: string;
            readonly seen_at: string | null;
            readonly started_at: string;
        };
    };
    responses: {
        /** @description `malformed-request`: This is no HTTP request; `malformed-json`: The body is not JSON; `invalid-header`: A header cannot be understood; `invalid-parameter`: A query parameter cannot be understood; `no-pending-approvals`: No pending tool approvals. */
        readonly 400: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `unauthorized`: Who are you?. */
        readonly 401: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `forbidden`: That key does not allow this; `origin-not-allowed`: This page may not ask here; `quota-full`: You have as much as you may have. */
        readonly 403: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `not-found`: Not found. */
        readonly 404: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `method-not-allowed`: Method not allowed. */
        readonly 405: {
            headers: {
                /** @description Methods. */
                readonly Allow?: string;
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `request-timeout`: The request did not come to its end. */
        readonly 408: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `action-abandoned`: The action was given up; `in-use`: Others go on from it; `busy`: Turns are running; `operation-running`: Another restart or drain has not ended; `nobody-left`: Nobody would be left to serve; `no-supervisor`: Nobody can restart or drain anything; `illegal-in-phase`: Not possible now; `turn-running`: A turn is running; `not-waiting`: That message does not wait; `unknown-question`: That question is not open; `branch-exists`: There is a branch of that name already, or there are too many; `not-append-only`: Messages that are there cannot be changed or removed so; `too-many-notes`: You have as many notes as one may have; `merge-conflict`: Both branches have something of their own in the same place; `unknown-turn`: That turn is not running. */
        readonly 409: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `legacy-gone`: This old endpoint is switched off; `compacted`: The log does not go back so far; `gone`: The context was deleted. */
        readonly 410: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `version-mismatch`: The context has changed. */
        readonly 412: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `body-too-large`: The body is too large. */
        readonly 413: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `unsupported-media-type`: The body must be JSON. */
        readonly 415: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `misdirected`: This server has another name. */
        readonly 421: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `unknown-model`: There is no such model; `model-refused`: The model does not take the request; `invalid-body`: The body is not what the action takes; `unknown-tool-call`: No such tool call; `unknown-message`: No such message; `unknown-branch`: No such branch; `too-many-messages`: Too many messages at once; `invalid-config`: The configuration would not be valid; `key-reused`: The Idempotency-Key was used for another request. */
        readonly 422: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `upgrade-required`: This address is a WebSocket. */
        readonly 426: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `rate-limited`: Too many requests; `quota-exceeded`: You have used as much as you may for now; `too-many-streams`: Too many streams of one owner; `queue-full`: Too many messages wait; `mailbox-full`: Too many undelivered actions; `model-busy`: The model server takes no more requests. */
        readonly 429: {
            headers: {
                /** @description Of each rate: how many are left (r), all again in t s. */
                readonly RateLimit?: string;
                /** @description Of each rate: how many at once (q), in how many s (w). */
                readonly "RateLimit-Policy"?: string;
                /** @description Seconds to wait. */
                readonly "Retry-After"?: string;
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `head-too-large`: The head of the request is too large. */
        readonly 431: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `internal`: Something went wrong; `unreadable`: The context cannot be opened. */
        readonly 500: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `model-unavailable`: The model does not answer; `store-unavailable`: The store does not answer; `draining`: This gateway is stopping; `too-many-connections`: Too many connections; `too-many-viewers`: Too many streams. */
        readonly 503: {
            headers: {
                /** @description Seconds to wait. */
                readonly "Retry-After"?: string;
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
        /** @description `answer-late`: The answer takes longer than a request may wait. */
        readonly 504: {
            headers: {
                readonly [name: string]: unknown;
            };
            content: {
                readonly "application/problem+json": components["schemas"]["ProblemDocument"];
            };
        };
    };
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    readonly list_audit: {
        readonly parameters: {
            readonly query?: {
                /** @description Only records behind this number. */
                readonly after?: number;
                /** @description Entries a page, up to the server's `list_max` (200). */
                readonly limit?: number;
            };
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description Records. */
            readonly 200: {
                headers: {
                    /** @description `rel=next`, where there are more. */
                    readonly Link?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["AuditPage"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly list_at_work: {
        readonly parameters: {
            readonly query?: {
                /** @description Where the page before has ended (see Link). */
                readonly after?: string;
                /** @description Also those that rest; page by page through all there are. */
                readonly all?: "true" | "false";
                /** @description Entries a page, up to the server's `list_max` (200). */
                readonly limit?: number;
                /** @description Only those to which something is to happen for so many seconds. */
                readonly older_s?: number;
                /** @description Only this owner's. */
                readonly owner?: string;
                /** @description Only those whose worker lives and commits nothing for `slow_after_s`, though something is to happen; with `stuck`, both. */
                readonly slow?: "true" | "false";
                /** @description Only those with this status. */
                readonly status?: "idle" | "preparing_request" | "awaiting_llm_response" | "streaming_llm_response" | "awaiting_tool_approval" | "awaiting_answer" | "executing_tools" | "transient_failure" | "failed" | "paused" | "deleted" | "unreadable";
                /** @description Only those that no living worker has for `stuck_after_s`, though something is to happen. */
                readonly stuck?: "true" | "false";
            };
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description A page. */
            readonly 200: {
                headers: {
                    /** @description `rel=next`, where there are more. */
                    readonly Link?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["GlanceList"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly inspect_context: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description What there is. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["InspectionView"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly cancel_context: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description Delivered. */
            readonly 202: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["CancelDelivered"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly compact_context: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["CompactOrder"];
            };
        };
        readonly responses: {
            /** @description It will be, or is that short already. */
            readonly 202: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["CompactionAsked"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly requeue_context: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description It will be. */
            readonly 202: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["Requeued"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly list_dead_letters: {
        readonly parameters: {
            readonly query?: {
                /** @description Where the page before has ended (see Link). */
                readonly after?: string;
                /** @description Only those whose cause says this. */
                readonly cause?: string;
                /** @description Only those of this context. */
                readonly context?: string;
                /** @description Only those of this kind. */
                readonly kind?: "action" | "turn" | "webhook";
                /** @description Entries a page, up to the server's `list_max` (200). */
                readonly limit?: number;
            };
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description Dead letters. */
            readonly 200: {
                headers: {
                    /** @description `rel=next`, where there are more. */
                    readonly Link?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["DeadLetterList"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly drop_dead_letter: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path: {
                readonly letter_id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description Forgotten. */
            readonly 204: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content?: never;
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly retry_dead_letter: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path: {
                readonly letter_id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description Delivered. */
            readonly 202: {
                headers: {
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["LetterRetried"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly drop_dead_letters: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["LettersOrder"];
            };
        };
        readonly responses: {
            /** @description What became of them. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["LettersHandled"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 408: components["responses"]["408"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly retry_dead_letters: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["LettersOrder"];
            };
        };
        readonly responses: {
            /** @description What became of them. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["LettersHandled"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 408: components["responses"]["408"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly drain: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["DrainOrder"];
            };
        };
        readonly responses: {
            /** @description Asked for; or the same that runs already. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["RestartAccepted"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly list_processes: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description All. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ProcessList"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly restart: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["RestartOrder"];
            };
        };
        readonly responses: {
            /** @description Asked for; or the one that runs already. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["RestartAccepted"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly get_restart: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path: {
                readonly restart_id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description The report. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["RestartReport"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly get_retention: {
        readonly parameters: {
            readonly query?: {
                /** @description As if `retention_days` were this; the server's own, if it is not given. */
                readonly days?: number;
                /** @description Entries a page, up to the server's `list_max` (200). */
                readonly limit?: number;
            };
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description The plan, oldest first. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["RetentionPlan"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly list_workers: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description All. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["WorkerList"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly get_action: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path: {
                readonly action_id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description Its state. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionStatus"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 410: components["responses"]["410"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly ask: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path: {
                readonly mode: "text" | "semantic" | "graph" | "deep";
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["Ask"];
            };
        };
        readonly responses: {
            /** @description The answer, and its sources. */
            readonly 200: {
                headers: {
                    /** @description The context of the session, where there is one. */
                    readonly "Contextd-Context-Id"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ChatAnswer"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
            readonly 504: components["responses"]["504"];
        };
    };
    readonly ask_streamed: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["Ask"];
            };
        };
        readonly responses: {
            /** @description The stream. */
            readonly 200: {
                headers: {
                    /** @description The context of the session, where there is one. */
                    readonly "Contextd-Context-Id"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "text/event-stream": components["schemas"]["ChatStream"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
            readonly 504: components["responses"]["504"];
        };
    };
    readonly delete_session: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path: {
                readonly session_id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description It will be deleted. */
            readonly 202: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Deleted. */
            readonly 204: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content?: never;
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 409: components["responses"]["409"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly make_title: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["AskTitle"];
            };
        };
        readonly responses: {
            /** @description The title. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["TitleView"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly list_contexts: {
        readonly parameters: {
            readonly query?: {
                /** @description Begin behind this context (see Link). */
                readonly after?: string;
                /** @description Entries a page, up to the server's `list_max` (200). */
                readonly limit?: number;
                /** @description Show the cursor of each, too. */
                readonly states?: "true" | "false";
            };
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description A page. */
            readonly 200: {
                headers: {
                    /** @description `rel=next`, where there are more. */
                    readonly Link?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ContextList"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly create_context: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["CreateContext"];
            };
        };
        readonly responses: {
            /** @description Made. */
            readonly 201: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly get_context: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description `no-cache`: no state that may be behind. */
                readonly "Cache-Control"?: string;
                /** @description 304 if this ETag is current. */
                readonly "If-None-Match"?: string;
                /** @description `wait=N` (60 at most): with If-None-Match or `after`, wait for a change. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description The state. */
            readonly 200: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `rel=collection`: all messages, where `messages` has left some out. */
                    readonly Link?: string;
                    /** @description When asking again is worth it. */
                    readonly "Poll-After-Ms"?: number;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Nothing has changed. */
            readonly 304: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    readonly [name: string]: unknown;
                };
                content?: never;
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 410: components["responses"]["410"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly delete_context: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly answer: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody: {
            readonly content: {
                readonly "application/json": components["schemas"]["AnswerQuestion"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly approve_tools: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["ApproveTools"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly cancel: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["Cancel"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly configure: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["ConfigPatch"];
                readonly "application/merge-patch+json": components["schemas"]["ConfigPatch"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly create_branch: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody: {
            readonly content: {
                readonly "application/json": components["schemas"]["CreateBranch"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly delete: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["Empty"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly edit_message: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody: {
            readonly content: {
                readonly "application/json": components["schemas"]["EditMessage"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly fork: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["Fork"];
            };
        };
        readonly responses: {
            /** @description Made. */
            readonly 201: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 410: components["responses"]["410"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly generate_title: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["Empty"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly merge_branch: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody: {
            readonly content: {
                readonly "application/json": components["schemas"]["MergeBranch"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly pause: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["Empty"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly pin: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["Empty"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly record_messages: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody: {
            readonly content: {
                readonly "application/json": components["schemas"]["RecordMessages"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly regenerate: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["Regenerate"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly rename: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody: {
            readonly content: {
                readonly "application/json": components["schemas"]["Rename"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly request_turn: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody: {
            readonly content: {
                readonly "application/json": components["schemas"]["RequestTurn"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly reset: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["Empty"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly resume: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["Empty"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly retry: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["Empty"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly send_message: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody: {
            readonly content: {
                readonly "application/json": components["schemas"]["SendMessage"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly switch_branch: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["SwitchBranch"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly unpin: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["Empty"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly update_queue: {
        readonly parameters: {
            readonly query?: {
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description Only if the context is still at the version of this ETag; else 412. */
                readonly "If-Match"?: "*" | string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["UpdateQueue"];
            };
        };
        readonly responses: {
            /** @description Applied. */
            readonly 200: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            /** @description Accepted; not applied yet, or the turn does not rest yet. */
            readonly 202: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    /** @description What was honoured of Prefer. */
                    readonly "Preference-Applied"?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 410: components["responses"]["410"];
            readonly 412: components["responses"]["412"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly stream_events: {
        readonly parameters: {
            readonly query?: {
                /** @description Cursor to go on from, for clients that cannot send Last-Event-ID. */
                readonly after?: string;
                /** @description `off`: no text while it arrives. */
                readonly deltas?: "on" | "off";
                /** @description Only events of these kinds, separated by commas (and `snapshot` and `reset`). */
                readonly kinds?: string;
                /** @description Stands for the header Authorization, once: browsers cannot set it here. */
                readonly ticket?: string;
            };
            readonly header?: {
                /** @description Cursor of the last event seen; the stream goes on behind it. */
                readonly "Last-Event-ID"?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description The stream. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "text/event-stream": components["schemas"]["EventStream"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 410: components["responses"]["410"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly export_context: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description The document. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ContextExport"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 410: components["responses"]["410"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly get_log: {
        readonly parameters: {
            readonly query?: {
                /** @description Only events behind this version. */
                readonly after?: number;
                /** @description Entries a page, up to the server's `list_max` (200). */
                readonly limit?: number;
            };
            readonly header?: never;
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description A page. */
            readonly 200: {
                headers: {
                    /** @description `rel=next`, where there are more. */
                    readonly Link?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["LogPage"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 410: components["responses"]["410"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly list_messages: {
        readonly parameters: {
            readonly query?: {
                /** @description Only what stands behind this number. */
                readonly after_seq?: number;
                /** @description Only what stands before this number: the page that ends there. */
                readonly before_seq?: number;
                /** @description Name of a branch; the active one, if it is not given. */
                readonly branch?: string;
                /** @description Entries a page, up to the server's `list_max` (200). */
                readonly limit?: number;
            };
            readonly header?: never;
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description A page. */
            readonly 200: {
                headers: {
                    /** @description `rel=next`, where there are more. */
                    readonly Link?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["MessageList"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 410: components["responses"]["410"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly get_message: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path: {
                readonly id: string;
                readonly message_id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description The message. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["MessageView"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 410: components["responses"]["410"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly get_state: {
        readonly parameters: {
            readonly query?: {
                /** @description Only the events since this cursor, instead of the state. */
                readonly after?: string;
                /** @description The state as it was at this version. */
                readonly at_version?: number;
                /** @description How many of the last messages to show; all if it is not given. */
                readonly messages?: number;
            };
            readonly header?: {
                /** @description `no-cache`: no state that may be behind. */
                readonly "Cache-Control"?: string;
                /** @description 304 if this ETag is current. */
                readonly "If-None-Match"?: string;
                /** @description `wait=N` (60 at most): with If-None-Match or `after`, wait for a change. */
                readonly Prefer?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description The state; with `after`, the events since. */
            readonly 200: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `rel=collection`: all messages, where `messages` has left some out. */
                    readonly Link?: string;
                    /** @description When asking again is worth it. */
                    readonly "Poll-After-Ms"?: number;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"] | components["schemas"]["EventsPage"];
                };
            };
            /** @description Nothing has changed. */
            readonly 304: {
                headers: {
                    /** @description `true` where the store does not answer and this is what the gateway has seen last; it may be behind. `Cache-Control: no-cache` asks for a 503 instead. */
                    readonly "Contextd-Stale"?: "true";
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    readonly [name: string]: unknown;
                };
                content?: never;
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 410: components["responses"]["410"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly list_turns: {
        readonly parameters: {
            readonly query?: {
                /** @description Only what stands behind this number. */
                readonly after_seq?: number;
                /** @description Entries a page, up to the server's `list_max` (200). */
                readonly limit?: number;
            };
            readonly header?: never;
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description A page. */
            readonly 200: {
                headers: {
                    /** @description `rel=next`, where there are more. */
                    readonly Link?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["TurnList"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 410: components["responses"]["410"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly open_socket: {
        readonly parameters: {
            readonly query?: {
                /** @description Cursor to go on from, for clients that cannot send Last-Event-ID. */
                readonly after?: string;
                /** @description `off`: no text while it arrives. */
                readonly deltas?: "on" | "off";
                /** @description Only events of these kinds, separated by commas (and `snapshot` and `reset`). */
                readonly kinds?: string;
                /** @description Stands for the header Authorization, once: browsers cannot set it here. */
                readonly ticket?: string;
            };
            readonly header?: {
                /** @description Cursor of the last event seen; the stream goes on behind it. */
                readonly "Last-Event-ID"?: string;
            };
            readonly path: {
                readonly id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description Frames `{id, event, data}`, as JSON text. */
            readonly 101: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content?: never;
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 410: components["responses"]["410"];
            readonly 426: components["responses"]["426"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly import_context: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: {
                /** @description The action is done once, however often it is sent with this key; a repeat is answered with the same action and the state as it is by then, and `Idempotent-Replayed: true`. */
                readonly "Idempotency-Key"?: string;
                /** @description `wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: answer 202 at once; `return=minimal`: without the context. RFC 7240. */
                readonly Prefer?: string;
            };
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["ContextExport"];
            };
        };
        readonly responses: {
            /** @description Made. */
            readonly 201: {
                headers: {
                    /** @description The context's cursor, `<epoch>.<version>.<n>`. */
                    readonly ETag?: string;
                    /** @description `true` on a repeat. */
                    readonly "Idempotent-Replayed"?: "true";
                    /** @description Where to ask further. */
                    readonly Location?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ActionResponse"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 408: components["responses"]["408"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly stream_many: {
        readonly parameters: {
            readonly query?: {
                /** @description Ids, separated by commas; each perhaps with the cursor to go on from, `<id>:<cursor>`. */
                readonly contexts?: string;
                /** @description `off`: no text while it arrives. */
                readonly deltas?: "on" | "off";
                /** @description Only events of these kinds, separated by commas (and `snapshot` and `reset`). */
                readonly kinds?: string;
                /** @description Stands for the header Authorization, once: browsers cannot set it here. */
                readonly ticket?: string;
            };
            readonly header?: {
                /** @description Cursor of the last event seen; the stream goes on behind it. */
                readonly "Last-Event-ID"?: string;
            };
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description The stream. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "text/event-stream": components["schemas"]["EventStream"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 410: components["responses"]["410"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly get_limits: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description Quotas and rates. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["LimitsView"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly list_notes: {
        readonly parameters: {
            readonly query?: {
                /** @description Begin behind this note (see Link). */
                readonly after?: string;
                /** @description Entries a page, up to the server's `list_max` (200). */
                readonly limit?: number;
            };
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description A page. */
            readonly 200: {
                headers: {
                    /** @description `rel=next`, where there are more. */
                    readonly Link?: string;
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["NoteList"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly add_note: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: {
            readonly content: {
                readonly "application/json": components["schemas"]["AddNote"];
            };
        };
        readonly responses: {
            /** @description Kept. */
            readonly 201: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["NoteView"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 408: components["responses"]["408"];
            readonly 409: components["responses"]["409"];
            readonly 413: components["responses"]["413"];
            readonly 415: components["responses"]["415"];
            readonly 422: components["responses"]["422"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly delete_note: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path: {
                readonly note_id: string;
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description Forgotten. */
            readonly 204: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content?: never;
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 403: components["responses"]["403"];
            readonly 404: components["responses"]["404"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly issue_ticket: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description It is good once, and soon. */
            readonly 201: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["TicketView"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 401: components["responses"]["401"];
            readonly 429: components["responses"]["429"];
            readonly 500: components["responses"]["500"];
            readonly 503: components["responses"]["503"];
        };
    };
    readonly health: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description Yes. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["Liveness"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 500: components["responses"]["500"];
        };
    };
    readonly healthz: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description Yes. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["Liveness"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 500: components["responses"]["500"];
        };
    };
    readonly get_problem_type: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path: {
                readonly name: "malformed-request" | "malformed-json" | "invalid-header" | "invalid-parameter" | "no-pending-approvals" | "unauthorized" | "forbidden" | "origin-not-allowed" | "quota-full" | "not-found" | "method-not-allowed" | "request-timeout" | "action-abandoned" | "in-use" | "busy" | "operation-running" | "nobody-left" | "no-supervisor" | "illegal-in-phase" | "turn-running" | "not-waiting" | "unknown-question" | "branch-exists" | "not-append-only" | "too-many-notes" | "merge-conflict" | "unknown-turn" | "legacy-gone" | "compacted" | "gone" | "version-mismatch" | "body-too-large" | "unsupported-media-type" | "misdirected" | "unknown-model" | "model-refused" | "invalid-body" | "unknown-tool-call" | "unknown-message" | "unknown-branch" | "too-many-messages" | "invalid-config" | "key-reused" | "upgrade-required" | "rate-limited" | "quota-exceeded" | "too-many-streams" | "queue-full" | "mailbox-full" | "model-busy" | "head-too-large" | "internal" | "unreadable" | "model-unavailable" | "store-unavailable" | "draining" | "too-many-connections" | "too-many-viewers" | "answer-late";
            };
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description The type. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["ProblemTypeView"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 404: components["responses"]["404"];
            readonly 500: components["responses"]["500"];
        };
    };
    readonly readyz: {
        readonly parameters: {
            readonly query?: never;
            readonly header?: never;
            readonly path?: never;
            readonly cookie?: never;
        };
        readonly requestBody?: never;
        readonly responses: {
            /** @description Ready. */
            readonly 200: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["Readiness"];
                };
            };
            readonly 400: components["responses"]["400"];
            readonly 500: components["responses"]["500"];
            /** @description Not ready. */
            readonly 503: {
                headers: {
                    readonly [name: string]: unknown;
                };
                content: {
                    readonly "application/json": components["schemas"]["Readiness"];
                };
            };
        };
    };
}
