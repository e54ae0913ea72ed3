-- A data folder of schema 0003, with one dispatch and two circuits, one of which has failed.
-- seal.key: e89a55abd1b8acfaf0492c1b9230b1e1844201b2aa5f5f3c300d92ad6eadddff
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE blobs (
	digest VARCHAR(64) NOT NULL, 
	size INTEGER NOT NULL, 
	data BLOB, 
	PRIMARY KEY (digest)
);
INSERT INTO "blobs" VALUES('9ded9cb387da983f42a198bf7d6c626a3fe45b6b60c62ef6df06ed63b9758f7d',71,X'84A56E6F6465739183A2696400A46E616D65A3616464A46B696E64A8656C656374726F6EA5656467657390A6726573756C7481A46E6F646500A46E616D65A8776F726B666C6F77');
INSERT INTO "blobs" VALUES('7ec36de8c49de9927557c3b707f7e4afdee39d1e19309bf0fdc35fa6c5e21d7b',26,X'51434F56612076616C7565206F6620736368656D612030303031');
CREATE TABLE circuits (
	number INTEGER NOT NULL, 
	id VARCHAR(36) NOT NULL, 
	dispatch_id VARCHAR(36) NOT NULL, 
	node_id INTEGER NOT NULL, 
	executor TEXT NOT NULL, 
	device TEXT, 
	execution_time FLOAT, 
	structure VARCHAR(64), 
	record BLOB NOT NULL, 
	PRIMARY KEY (number), 
	FOREIGN KEY(dispatch_id) REFERENCES dispatches (id) ON DELETE CASCADE, 
	UNIQUE (id)
);
INSERT INTO "circuits" VALUES(1,'c0','0b0e9f4a-5f39-4c1d-8a55-3f1a5f6f0001',0,'Simulator','default.qubit',0.1,NULL,X'87A971656C656374726F6EA763697263756974A573686F747364A5776972657301A6717565756564CB4000CCCCCCCCCCCDA773746172746564CB400199999999999AA866696E6973686564CB4002666666666666A6726573756C74CB3FE0000000000000');
INSERT INTO "circuits" VALUES(2,'c1','0b0e9f4a-5f39-4c1d-8a55-3f1a5f6f0001',0,'Simulator','default.qubit',NULL,NULL,X'87A971656C656374726F6EA763697263756974A573686F747364A5776972657301A6717565756564CB4000CCCCCCCCCCCDA773746172746564CB400199999999999AA866696E6973686564CB4002666666666666A56572726F72AE56616C75654572726F723A206E6F');
CREATE TABLE commits (
	owner VARCHAR(80) NOT NULL, 
	token VARCHAR(32) NOT NULL, 
	PRIMARY KEY (owner)
);
CREATE TABLE dispatches (
	id VARCHAR(36) NOT NULL, 
	name TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	"key" TEXT, 
	root_id VARCHAR(36) NOT NULL, 
	parent_id VARCHAR(36), 
	parent_node INTEGER, 
	created FLOAT NOT NULL, 
	started FLOAT, 
	ended FLOAT, 
	error TEXT, 
	inputs_repr TEXT NOT NULL, 
	manifest VARCHAR(64) NOT NULL, 
	manifest_seal VARCHAR(64) NOT NULL, 
	result VARCHAR(64), 
	result_seal VARCHAR(64), 
	result_repr TEXT, 
	nodes_total INTEGER NOT NULL, owner VARCHAR(80), epoch INTEGER, lease_ends FLOAT, cancel_requested TEXT, 
	PRIMARY KEY (id), 
	UNIQUE ("key"), 
	UNIQUE (parent_id, parent_node)
);
INSERT INTO "dispatches" VALUES('0b0e9f4a-5f39-4c1d-8a55-3f1a5f6f0001','workflow','COMPLETED','old','0b0e9f4a-5f39-4c1d-8a55-3f1a5f6f0001',NULL,NULL,1.0,NULL,4.0,NULL,'{"args": [], "kwargs": {}}','9ded9cb387da983f42a198bf7d6c626a3fe45b6b60c62ef6df06ed63b9758f7d','f82ba40d9592aa499c70f8161795a68209b9da7ac5d3a7a6b394adb47f17c419','7ec36de8c49de9927557c3b707f7e4afdee39d1e19309bf0fdc35fa6c5e21d7b','37f4c3ef202967c752010b7bdf9857781dc720e5fe704a6e666d65f3d3bf5c44','3',1,NULL,NULL,NULL,NULL);
CREATE TABLE memo (
	"key" VARCHAR(64) NOT NULL, 
	output VARCHAR(64) NOT NULL, 
	output_seal VARCHAR(64) NOT NULL, 
	output_key VARCHAR(64), 
	value_repr TEXT, 
	dispatch_id VARCHAR(36) NOT NULL, 
	created FLOAT NOT NULL, 
	PRIMARY KEY ("key")
);
CREATE TABLE nodes (
	dispatch_id VARCHAR(36) NOT NULL, 
	node_id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	executor VARCHAR(64), 
	attempt INTEGER NOT NULL, 
	started FLOAT, 
	ended FLOAT, 
	error TEXT, 
	output VARCHAR(64), 
	output_seal VARCHAR(64), 
	value_repr TEXT, 
	stdout TEXT, 
	stderr TEXT, 
	sub_dispatch_id VARCHAR(36), output_key VARCHAR(64), reused_from VARCHAR(36), 
	PRIMARY KEY (dispatch_id, node_id), 
	FOREIGN KEY(dispatch_id) REFERENCES dispatches (id) ON DELETE CASCADE
);
INSERT INTO "nodes" VALUES('0b0e9f4a-5f39-4c1d-8a55-3f1a5f6f0001',0,'add','electron','COMPLETED','local',1,2.0,3.0,NULL,'7ec36de8c49de9927557c3b707f7e4afdee39d1e19309bf0fdc35fa6c5e21d7b','083d5ee49e2bf058733d53f5468eb56684339a6707a6b16858f105b5c4357ca8','3','printed','',NULL,NULL,NULL);
CREATE TABLE sealing (
	number INTEGER NOT NULL, 
	sign VARCHAR(64) NOT NULL, 
	PRIMARY KEY (number)
);
CREATE TABLE structures (
	"key" VARCHAR(64) NOT NULL, 
	text TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
CREATE TABLE trigger_dispatches (
	trigger_id VARCHAR(36) NOT NULL, 
	dispatch_id VARCHAR(36) NOT NULL, 
	created FLOAT NOT NULL, 
	PRIMARY KEY (trigger_id, dispatch_id)
);
CREATE TABLE triggers (
	id VARCHAR(36) NOT NULL, 
	dispatch_id VARCHAR(36) NOT NULL, 
	name TEXT NOT NULL, 
	object VARCHAR(64) NOT NULL, 
	object_seal VARCHAR(64) NOT NULL, 
	environment TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	error TEXT, 
	created FLOAT NOT NULL, owner VARCHAR(80), lease_ends FLOAT, 
	PRIMARY KEY (id)
);
CREATE INDEX dispatches_by_created ON dispatches (created);
CREATE INDEX dispatches_by_status ON dispatches (status);
CREATE INDEX circuits_by_node ON circuits (dispatch_id, node_id);
CREATE INDEX triggers_by_dispatch ON triggers (dispatch_id);
COMMIT;
