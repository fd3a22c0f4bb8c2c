"""Kills things and looks whether anything was lost: ``make chaos``.

The driver starts a stack of its own, keeps it under load (:mod:`chaos.load`: executions that are started by hand, on
schedule, straight over Kafka and by the records of topics of our own, and such as time out, lose their runners or break off,
and have handlers for that; against the recording server of :mod:`chaos.receiver`), and disturbs it by a seeded schedule of
faults (:mod:`chaos.faults`). When the faults are over it waits until nothing is open and no record unread any more, and then
judges from outside what happened (:mod:`chaos.checker`): by the answers it got, the requests that were received, the
documents and the topics.
"""
